# What the scripts beside this file share. Sourced by bash with `set -euo pipefail`, from the checkout's root.
# shellcheck shell=bash

say() { printf '%s\n' "$*"; }
fail() { # fail WHAT [WHAT TO DO…]
  printf 'ERROR: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit 1
}

# This checkout's state, as src/parity/config/settings.py has it: what a process stack left, and the CA that people trust.
STATE=${PARITY_STATE_DIR:-.parity}
PROCESS_STATE=$STATE/process.json
CA_FILE=${PARITY_TRUST_DIR:-$STATE/trust}/ca.pem

# The test is for an engine that answers, not for the command; a DOCKER_HOST that points nowhere means "no engine".
engine_answers() { timeout 10 docker version >/dev/null 2>&1 && timeout 10 docker compose version >/dev/null 2>&1; }

engine_problem() { # one line on why engine_answers said no
  if ! command -v docker >/dev/null; then say "there is no docker command on PATH"
  elif ! timeout 10 docker version >/dev/null 2>&1; then say "no Docker engine answers at ${DOCKER_HOST:-unix:///var/run/docker.sock}"
  else say "docker has no Compose plugin (docker compose version fails)"
  fi
}

# Builds inside a network that intercepts TLS need its CA. Such a machine names it in one of these variables; the file
# is copied into the checkout, because Compose's builder asks for permission to read a secret from outside. On any other
# machine the copy is the usual public roots, or nothing at all.
provide_build_ca() {
  [ -z "${PARITY_CA_FILE:-}" ] || { [ -r "$PARITY_CA_FILE" ] || fail "PARITY_CA_FILE=$PARITY_CA_FILE cannot be read" "expected a file of PEM certificates; unset it where TLS is not intercepted"; }
  local file
  for file in "${PARITY_CA_FILE:-}" "${PIP_CERT:-}" "${SSL_CERT_FILE:-}" "${REQUESTS_CA_BUNDLE:-}"; do
    if [ -n "$file" ] && [ -s "$file" ]; then
      mkdir -p .parity/build
      cmp -s "$file" .parity/build/ca.pem || cp "$file" .parity/build/ca.pem
      export PARITY_CA_FILE=./.parity/build/ca.pem
      return
    fi
  done
}

# Every container built from here says which commit it was built from.
provide_git_commit() {
  local commit
  commit=$(git rev-parse HEAD 2>/dev/null) || commit=unknown
  if [ "$commit" != unknown ] && [ -n "$(git status --porcelain --untracked-files=no 2>/dev/null)" ]; then commit=$commit-dirty; fi
  export GIT_COMMIT=${GIT_COMMIT:-$commit}
}

# Published ports and what moves them; compose.yaml has the same defaults.
PORTS="PARITY_API_PORT=8443 PARITY_API_HTTP_PORT=8080 PARITY_FRONTEND_PORT=5173 PARITY_FRONTEND_TLS_PORT=5443 PARITY_R2_PORT=9000 PARITY_MODAL_PORT=9900 PARITY_MODAL_BLOB_PORT=9901 PARITY_ADMIN_PORT=9090"

port() { # port NAME: the value in force
  local pair
  for pair in $PORTS; do
    if [ "${pair%%=*}" = "$1" ]; then local -n given=$1; say "${given:-$((${pair#*=} + ${PARITY_PORT_OFFSET:-0}))}"; return; fi
  done
}

# Compose cannot add PARITY_PORT_OFFSET itself: each port is given to it.
provide_ports() {
  [[ ${PARITY_PORT_OFFSET:-0} =~ ^[0-9]{1,5}$ ]] || fail "PARITY_PORT_OFFSET=$PARITY_PORT_OFFSET is not a number from 0 to 55000"
  local pair
  for pair in $PORTS; do export "${pair%%=*}=$(port "${pair%%=*}")"; done
}

compose_project() { docker compose config 2>/dev/null | sed -n 's/^name: //p' | head -1; }

# The folder of another checkout that has containers of this project's name; nothing where there is none.
other_checkout() {
  local folder here
  here=$(pwd -P)
  docker ps --all --filter "label=com.docker.compose.project=$(compose_project)" --format '{{.Label "com.docker.compose.project.working_dir"}}' \
    | sort -u | while IFS= read -r folder; do
      if [ "$(realpath -m "$folder")" != "$here" ]; then say "$folder"; return; fi
    done
}

require_own_project() {
  local other
  other=$(other_checkout)
  [ -z "$other" ] || fail "the compose project '$(compose_project)' belongs to another checkout: $other (this one is $PWD)" \
    "give this checkout a name and ports of its own: COMPOSE_PROJECT_NAME=$(compose_project)-2 PARITY_PORT_OFFSET=100 make up"
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

holder() { # holder PORT: who has it, as far as can be seen
  local name=
  name=$(docker ps --filter "publish=$1" --format 'container {{.Names}} of {{.Label "com.docker.compose.project.working_dir"}}' 2>/dev/null | head -1) || true
  if [ -z "$name" ] && command -v ss >/dev/null; then name=$(ss -Hltnp "sport = :$1" 2>/dev/null | sed -n 's/.*users:((\("[^"]*"\),\(pid=[0-9]*\).*/\1 \2/p' | head -1); fi
  say "${name:-another program}"
}

require_ports() { # each setting is a port, and no two are the same
  local pair name value seen=" "
  for pair in $PORTS; do
    name=${pair%%=*}
    value=$(port "$name")
    [[ $value =~ ^[0-9]{1,5}$ ]] && [ "$value" -ge 1 ] && [ "$value" -le 65535 ] || fail "$name=$value is not a port" "expected a number from 1 to 65535"
    case $seen in *" $value "*) fail "$name=$value: another setting has the same port" "set $name to a free one" ;; esac
    seen="$seen$value "
  done
}

require_free_ports() {
  local pair name value taken=()
  for pair in $PORTS; do
    name=${pair%%=*}
    value=$(port "$name")
    if listening "$value"; then taken+=("port $value is taken by $(holder "$value"): stop it, or choose another with $name=… or PARITY_PORT_OFFSET=100 make up"); fi
  done
  if [ ${#taken[@]} != 0 ] && [ -e "$PROCESS_STATE" ]; then taken+=("the stack of processes of this checkout may have them: make down"); fi
  [ ${#taken[@]} = 0 ] || fail "the stack was not started" "${taken[@]}"
}

stack_containers() { docker compose ps -q 2>/dev/null | grep -c . || true; }

machines_running() { docker compose ps -q --status running api 2>/dev/null | grep -c . || true; }

admin_get() { # admin_get PATH: what the admin gateway answers, headers and all
  exec 3<>"/dev/tcp/127.0.0.1/$(port PARITY_ADMIN_PORT)" || return 1
  printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$1" >&3
  timeout 5 cat <&3 || true
  exec 3>&-
}

# Whether each of the RUNNING Machines that the engine shows passes its checks by GET /fly/machines, on stdin: the state
# of a Machine comes before its health there.
machines_pass() { # machines_pass RUNNING
  local entry passing=0
  while read -r entry; do
    case $entry in
      '"state":"started" "healthy":true') passing=$((passing + 1)) ;;
      '"state":"stopped" '* | '"state":"suspended" '*) ;;
      *) return 1 ;;
    esac
  done < <(grep -oE '"(state|healthy)":("[a-z]+"|true|false)' | paste -d ' ' - -)
  [ "$passing" -gt 0 ] && [ "$passing" = "$1" ]
}

# Compose takes the Machines of a stack that runs away, as `api` has no replicas, and waits only for the containers that
# it started itself: the Machines that come in their place are waited for here.
await_machines() { # await_machines SECONDS
  local deadline=$((SECONDS + $1))
  until { admin_get /fly/machines 2>/dev/null || true; } | machines_pass "$(machines_running)"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.3
  done
}

print_urls() { # of the compose stack, for people
  cat <<TEXT
  frontend  http://localhost:$(port PARITY_FRONTEND_PORT)
  api       https://localhost:$(port PARITY_API_PORT)
  r2        https://r2.localhost:$(port PARITY_R2_PORT)
  modal     http://localhost:$(port PARITY_MODAL_PORT)
  admin     http://localhost:$(port PARITY_ADMIN_PORT)
  ca        $CA_FILE
TEXT
}

compose_checks() { # compose_checks ARGUMENTS…: the suite in its container, against the stack that is up
  mkdir -p "$STATE"
  docker compose --profile checks build --quiet checks >/dev/null
  COMPOSE_PROGRESS=quiet docker compose --profile checks run --rm -T checks check "$@"
}
