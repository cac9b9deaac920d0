#!/usr/bin/env bash
# The same drop for a page that never reloads.
exec "$(dirname "$0")/../run.sh" examples/app/ropeline.yaml \
  'The page:  http://localhost:8080/app' \
  '' \
  'Open it in two windows, one of them private, and stand in line in both.'
