#!/usr/bin/env bash
# Runs the demo shop and the gateway in front of it, until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin/shop -listen 127.0.0.1:9000 &
shop=$!
trap 'kill "$shop" 2>/dev/null; wait "$shop" 2>/dev/null || true' EXIT
trap 'exit 0' INT TERM
cat <<'TEXT'

  The shop:            http://localhost:8080/
  The protected drop:  http://localhost:8080/drop
  Health and metrics:  http://localhost:8081/health  http://localhost:8081/metrics

  Open the drop, then open it again in a private window and stand in line.

TEXT
bin/ropeline run --config examples/quickstart/ropeline.yaml &
gateway=$!
wait "$gateway"
