# Functions that the scripts in this folder share. Source it in bash with `set -euo pipefail`, in the checkout's root.
# shellcheck shell=bash

say() { printf '%s\n' "$*"; }
fail() { # fail WHAT [WHAT TO DO…]
  printf 'ERROR: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit 1
}

limited() { if command -v timeout >/dev/null; then timeout 20 "$@"; else "$@"; fi; } # macOS has no timeout

# Tests whether a Docker engine answers, not whether the command exists. A wrong DOCKER_HOST also means "no engine".
engine_answers() { limited docker version >/dev/null 2>&1 && limited docker compose version >/dev/null 2>&1; }

engine_problem() { # one line on why engine_answers said no
  if ! command -v docker >/dev/null; then say "there is no docker command on PATH"
  elif ! limited docker version >/dev/null 2>&1; then say "no Docker engine answers at ${DOCKER_HOST:-unix:///var/run/docker.sock}"
  else say "docker has no Compose plugin (docker compose version fails)"
  fi
}

build_ca() { # the bundle of trusted roots that this machine names; an empty file where it names none
  local file
  # What was named for builds decides, also where it is empty: in the dev container the others name its own roots.
  if [ -f "${PARITY_CA_FILE:-}" ]; then say "$PARITY_CA_FILE"; return; fi
  for file in "${PIP_CERT:-}" "${SSL_CERT_FILE:-}" "${REQUESTS_CA_BUNDLE:-}"; do
    if [ -f "$file" ] && [ -s "$file" ]; then say "$file"; return; fi
  done
  say deploy/no-ca.pem
}
