#!/usr/bin/env bash
# Ship the image that the checks' receipt speaks for: deploy/promote.sh staging [--dry-run] [--help]
set -euo pipefail
cd "$(dirname "$0")/.."
python=${VENV:-.venv}/bin/python
if [ ! -x "$python" ]; then
  echo "promote.sh: $python is missing: run 'make venv' first" >&2
  exit 1
fi
PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m parity.promote "$@"
