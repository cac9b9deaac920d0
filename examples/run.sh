#!/usr/bin/env bash
# Runs the demo shop and the gateway in front of it on a file, until Ctrl-C. What
# else is given is told first.
set -euo pipefail
cd "$(dirname "$0")/.."
bin/shop -listen 127.0.0.1:9000 &
shop=$!
trap 'kill "$shop" 2>/dev/null; wait "$shop" 2>/dev/null || true' EXIT
trap 'exit 0' INT TERM
echo
printf '  %s\n' "${@:2}"
echo
bin/ropeline run --config "$1" &
gateway=$!
wait "$gateway"
