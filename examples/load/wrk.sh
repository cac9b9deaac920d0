#!/usr/bin/env bash
# Asks the queue API with wrk: wrk.sh [URL] [seconds] [connections]
set -euo pipefail
cd "$(dirname "$0")"
gateway=${1:-http://127.0.0.1:8080} seconds=${2:-10} connections=${3:-50}

echo "== enter: a new visitor with each request"
wrk -t2 -c"$connections" -d"${seconds}s" --latency -s enter.lua "$gateway"

echo "== status: a place for each connection, and then polls"
wrk -t2 -c"$connections" -d"${seconds}s" --latency -s status.lua "$gateway"
