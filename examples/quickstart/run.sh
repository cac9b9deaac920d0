#!/usr/bin/env bash
# A drop for one visitor at a time.
exec "$(dirname "$0")/../run.sh" examples/quickstart/ropeline.yaml \
  'The shop:            http://localhost:8080/' \
  'The protected drop:  http://localhost:8080/drop' \
  'Health and metrics:  http://localhost:8081/health  http://localhost:8081/metrics' \
  '' \
  'Open the drop, then open it again in a private window and stand in line.'
