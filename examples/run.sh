#!/usr/bin/env bash
# Runs the demo shop and the gateway in front of it on a file, until Ctrl-C. What
# else is given is told first. Where either ends, as when its port is taken, both do.
set -euo pipefail
cd "$(dirname "$0")/.."
bin/shop -listen 127.0.0.1:9000 &
shop=$! gateway=
trap 'kill $shop $gateway 2>/dev/null; wait || true' EXIT
trap 'exit 0' INT TERM
echo
printf '  %s\n' "${@:2}"
echo
bin/ropeline run --config "$1" &
gateway=$!
wait -n "$shop" "$gateway"
