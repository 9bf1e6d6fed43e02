#!/usr/bin/env bash
# Ship the image that the checks' receipt speaks for: deploy/promote.sh staging [--dry-run] [--help]
# Paths in the arguments are the caller's: the working directory stays as it is.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${VENV:-.venv}
case $venv in /*) ;; *) venv=$root/$venv ;; esac
if [ ! -x "$venv/bin/python" ]; then
  echo "promote.sh: $venv/bin/python is missing: run 'make venv' first" >&2
  exit 1
fi
PARITY_ROOT=${PARITY_ROOT:-$root} PYTHONPATH=$root/src${PYTHONPATH:+:$PYTHONPATH} exec "$venv/bin/python" -m parity.promote "$@"
