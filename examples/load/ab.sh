#!/usr/bin/env bash
# Asks the queue API with ab: ab.sh [URL] [requests] [at once]
#
# ab sends the same body each time, so the first request takes the place and the
# others are told of it, with 409: ab counts those as "Non-2xx responses".
set -euo pipefail
cd "$(dirname "$0")"
gateway=${1:-http://127.0.0.1:8080} requests=${2:-10000} together=${3:-50}

echo "== enter"
ab -q -l -k -n "$requests" -c "$together" -T application/json -p enter.json "$gateway/api/v1/queue/enter"

place=$(curl -sS -H 'Content-Type: application/json' -d @enter.json "$gateway/api/v1/queue/enter" |
  sed -n 's/.*"session_id":"\([^"]*\)".*/\1/p')
[ -n "$place" ] || { echo "$gateway gives no place" >&2; exit 1; }

echo "== status"
ab -q -l -k -n "$requests" -c "$together" "$gateway/api/v1/queue/status?activity_id=123&session_id=$place"
