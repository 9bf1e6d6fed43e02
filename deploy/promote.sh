#!/usr/bin/env bash
# Deploys the image that the receipt of the checks names: deploy/promote.sh staging [--dry-run] [--help]
# It does not change the working directory, so relative paths in the arguments work.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${VENV:-.venv}
case $venv in /*) ;; *) venv=$root/$venv ;; esac
if [ ! -x "$venv/bin/python" ]; then
  echo "promote.sh: $venv/bin/python is missing: run 'make venv' first" >&2
  exit 1
fi
PARITY_ROOT=${PARITY_ROOT:-$root} PYTHONPATH=$root/src${PYTHONPATH:+:$PYTHONPATH} exec "$venv/bin/python" -m parity.promote "$@"
