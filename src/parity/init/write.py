"""Builds the texts of the files that ``parity init`` writes. Pure: other modules read the repository and write."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from parity.config.secrets_env import OPEN
from parity.init.find import Findings, as_process
from parity.init.openapi import Route, first

SECRETS_FILE, CONTRACT_FILE = "parity.secrets.env", "parity_contract.py"
# Routes at which someone new begins, and those that may only let a known person in.
_SIGN_UP = r"(^|/)join$|register|registration|sign-?_?up|accounts?$|users?$|profiles?$|guest"
_SIGN_IN = r"login|log-in|sign|session|auth|token"
_VALUES = {
    "R2_ENDPOINT": "${PARITY_R2_URL}",
    "R2_ACCESS_KEY_ID": "0123456789abcdef0123456789abcdef",
    "R2_SECRET_ACCESS_KEY": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "R2_BUCKET": "uploads",
    "MODAL_TOKEN_ID": "ak-standin",
    "MODAL_TOKEN_SECRET": "as-standin",
}
_SERVICES = {
    "postgres": (
        'port = 15432\nuser = "postgres" # the server refuses to run as root\n'
        'prepare = ["initdb", "-D", "{data}", "-U", "app", "--auth=trust", "--encoding=UTF8"]\n'
        'command = ["postgres", "-D", "{data}", "-h", "{host}", "-p", "{port}", "-k", ""]\n'
        'ready = ["pg_isready", "-q", "-h", "{host}", "-p", "{port}"]\n'
        'address = "postgres:5432" # the service of your compose.yaml, for Docker\n',
        "postgresql://app@${PARITY_SERVICE_POSTGRES}/postgres",
    ),
    "redis": (
        'port = 16379\ncommand = ["redis-server", "--port", "{port}", "--bind", "{host}", "--dir", "{data}"]\n'
        'address = "redis:6379" # the service of your compose.yaml, for Docker\n',
        "redis://${PARITY_SERVICE_REDIS}/0",
    ),
}
# The same services as containers. Their names are the hosts in ``address`` above.
_COMPOSED = {
    "postgres": (
        "  postgres:\n    image: postgres:16\n    environment: {POSTGRES_USER: app, POSTGRES_HOST_AUTH_METHOD: trust, "
        "POSTGRES_DB: postgres}\n    networks: [public]\n"
    ),
    "redis": "  redis:\n    image: redis:7\n    networks: [public]\n",
}


def _list(words: Sequence[str]) -> str:
    return json.dumps(list(words), ensure_ascii=False)


def parity_toml(found: Findings) -> str:
    """``parity.toml``: the settings that were found, and comments for those that could not be found."""
    lines = ["# What Parity must know about this app besides fly.toml. Paths are relative to this file.", "", "[app]"]
    lines.append(f'fly_config = "{found.fly_config or "fly.toml"}"')
    if found.origin:
        lines.append(f'frontend_origin = "{found.origin}" # from {found.origin_name} of fly.toml')
    else:
        lines.append("# frontend_origin = \"https://app.example\" # the page's origin, if it differs from the API's")
    lines.append('# frontend_dir = "frontend" # the folder of the built page, if it is in this repository')
    lines += ["", "[app.process] # how a Machine starts without Docker"]
    if found.directory != ".":
        lines.append(f'directory = "{found.directory}"')
    command = found.command or ["{python}", "-m", "uvicorn", "main:app", "--host", "{host}", "--port", "{port}"]
    lines.append(f"command = {_list(command)}" + ("" if found.command else " # TODO: a guess"))
    if found.process_env:
        shown = ", ".join(f"{name} = {json.dumps(value)}" for name, value in found.process_env.items())
        lines.append(f"env = {{ {shown} }} # ENV of the Dockerfile; relative paths lie in a Machine's own folder")
    for group, line in found.groups.items():
        if group not in ("web", "app"):
            lines += ["", f"[processes.{group}]", f"command = {_list(as_process(line))}"]
    lines += ["", "[secrets]", f'file = "{SECRETS_FILE}"']
    others = {ours: theirs for ours, theirs in found.r2.items() if ours != theirs}
    if others:
        lines += ["[secrets.names] # the app's own names for these secrets"]
        lines += [f'{ours} = "{theirs}"' for ours, theirs in others.items()]
    lines += [
        "",
        "[standin.env] # variables that a Machine has only here, not on Fly",
        'AWS_CA_BUNDLE = "${PARITY_CA_PATH}" # boto3 trusts the stand-in for R2 by it',
        'SSL_CERT_FILE = "${PARITY_CA_PATH}" # so do httpx, aiohttp, and programs in Go',
    ]
    if found.gpu_app:
        lines.append('MODAL_SERVER_URL = "${PARITY_MODAL_URL}"')
    lines.append("")
    if found.cors:
        lines += ["[r2]", f'cors = "{found.cors}"', ""]
    else:
        lines += ["# [r2]", '# cors = "r2.cors.json" # the bucket\'s CORS policy; without it no browser may upload', ""]
    if found.gpu_app:
        lines += ["[gpu]", f'app = "{found.gpu_app}"', f'entry = "{found.gpu_entry}"']
        if found.gpu_requirements:
            lines.append(f'requirements = "{found.gpu_requirements}" # packages of their images')
        for name in found.gpu_secrets:
            lines.append(f"[gpu.secrets.{name}] # the variables that the functions read from this Modal secret")
            known = {read: found.meant_by(read) for read in found.gpu_reads} or found.r2
            lines += [f'{ours} = "{"${" + theirs + "}" if theirs else OPEN}"' for ours, theirs in known.items()]
        lines.append("")
    for service in found.services:
        lines += [f"[services.{service}]", _SERVICES[service][0].rstrip()]
        if service == "postgres":
            command = found.migrate or ["{python}", "-m", "alembic", "upgrade", "head"]
            lines.append(("" if found.migrate else "# ") + f"migrate = {_list(command)}")
        lines.append("")
    lines += ["[checks]", f'contract = "{CONTRACT_FILE}"', '# folder = "checks" # checks that only this app has', ""]
    lines += [*found.copies.as_toml(), ""]
    return "\n".join([*lines, *_examples(found)])


def _examples(found: Findings) -> list[str]:
    """Comments with examples of settings for which nothing was found in the repository."""
    lines = ["# What else can be declared, where the app has it (docs/your-own-backend.md):"]
    for name in found.outside or ["api.stripe.com"]:
        host = _host(name)
        lines += [
            "#",
            f'# [stubs."{host}"] # an outside API, which a stub replaces: ${{PARITY_STUB_{_upper(host)}}} is its URL'
            + (f", for {name}" if name in found.outside else ""),
            '# answers = { "POST /v1/things" = { status = 201, json = { id = "1" } } }',
        ]
    for service in (service for service in _SERVICES if service not in found.services):
        lines += ["#", f"# [services.{service}] # ${{PARITY_SERVICE_{service.upper()}}} is its host:port"]
        lines += [f"# {line}" for line in _SERVICES[service][0].splitlines()]
    if not set(found.groups) - {"web", "app"}:
        lines += ["#", "# [processes.worker] # each further group of fly.toml's [processes]"]
        lines += ['# command = ["{python}", "-m", "app.worker"]']
    if not found.gpu_app:
        lines += ["#", "# [gpu] # the functions on Modal", '# app = "video-jobs"', '# entry = "gpu/app.py"']
        lines += ['# requirements = "gpu/requirements.txt" # packages of their images']
        lines += ["# [gpu.secrets.bucket] # a Modal secret with its variables", '# AWS_ACCESS_KEY_ID = "${S3_KEY}"']
    lines += ["#", "# [standin.override.MAIL_FROM] # a variable of fly.toml or a secret that needs another value here"]
    lines += ['# value = "nobody@localhost"', '# reason = "staging sends mail to people"']
    url = f"https://{found.app or 'app'}.fly.dev"
    lines += ["#", "# [targets.staging] # parity check --target staging: a deployed app", f'# url = "{url}"', ""]
    return lines


def _host(name: str) -> str:
    """The host name of a stub for a variable such as ``MAIL_API_URL``: ``mail.example``."""
    words = [word for word in name.lower().split("_") if word not in ("url", "uri", "host", "base", "endpoint", "api")]
    return f"{'-'.join(words) or 'api'}.example"


def _upper(host: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in host).upper()


def secrets_env(found: Findings) -> str:
    """The file of secrets, with stand-in values; no real secret belongs into it."""
    by_name = {found.r2.get(ours, ours): value for ours, value in _VALUES.items()}
    by_name |= {variable: _SERVICES[service][1] for service, variable in found.services.items()}
    wanted = [
        found.r2.get(ours, ours) for ours in ("R2_ENDPOINT", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET")
    ]
    if found.gpu_app:
        wanted += ["MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"]
    names = dict.fromkeys([*(name for name in wanted if name not in found.env), *found.secrets])
    lines = ["# Stand-in values for exactly the secrets that Fly has (`fly secrets list`). Put no real secret here."]
    lines += [f"{name}={by_name.get(name, 'TODO')}" for name in names]
    optional = [name for name in found.optional if name not in names]
    if optional:
        lines += ["# The app reads these only where they are set. Add those that Fly has:"]
        lines += [f"# {name}=" for name in optional]
    return "\n".join(lines) + "\n"


def compose_yaml(found: Findings, harness: str) -> str:
    """``compose.yaml`` for the container stack; ``harness`` is the harness's folder, relative to the repository."""
    services = "".join(f"\n{_COMPOSED[service]}" for service in found.services)
    return _COMPOSE.format(harness=harness, dockerfile=found.dockerfile) + services


def contract(found: Findings, routes: Sequence[Route]) -> str:
    """A skeleton of the contract: the required methods, guessed from the routes, and the optional ones as comments."""
    sign_in = first(routes, "POST", _SIGN_UP) or first(routes, "POST", _SIGN_IN)
    posts = [r for r in routes if r.method == "POST" and r.plain and r.fields and r is not sign_in]
    gets = {r.path.rstrip("/"): r for r in routes if r.method == "GET"}
    write = next((r for r in posts if r.path.rstrip("/") in gets), None) or (posts[0] if posts else None)
    read = gets.get(write.path.rstrip("/")) if write else None
    prefix = found.environment
    seen = [f"    {r.method:<6} {r.path}{' ' + ', '.join(r.fields) if r.fields else ''}" for r in routes]
    listing = "\n".join(["", "The routes of its OpenAPI document:", "", *seen]) if seen else ""
    elsewhere = "postgres" in found.services
    late = ", within_s=5" if found.litestream else ""
    here = f'InBucket("{prefix}/"{late})' if prefix else f'InBucket(""{late}) # {OPEN}: below which prefix?'
    return _CONTRACT.format(
        app=found.app or "this app",
        listing=listing,
        keeps="Elsewhere()" if elsewhere else here,
        environments=f'environments = Prefix("{prefix}")' if prefix else '# environments = Prefix("staging")',
        sign_in=_sign_in(sign_in) if sign_in else f'self.api.headers["X-User-ID"] = self.api.user # {OPEN}',
        write=_call(write or Route("POST", f"/{OPEN}", ("text",), 201), "text"),
        field=write.fields[0] if write else "text",
        read=read.path if read else f"/{OPEN}",
    )


def _call(route: Route, value: str, *others: tuple[str, str]) -> str:
    """The code of a request. Each field has ``value``, or that of ``others`` whose pattern matches its name."""
    given = {name: next((v for pattern, v in others if re.search(pattern, name, re.I)), value) for name in route.fields}
    body = ", ".join(f'"{name}": {text}' for name, text in given.items())
    expect = f", expect={route.status}" if route.status != 200 else ""
    return f'await self.api.call("{route.method}", "{route.path}", {{{body}}}{expect})'


def _sign_in(route: Route) -> str:
    call = _call(
        route, "self.api.user", ("mail", 'f"{self.api.user}@example.com"'), ("pass", 'f"password of {self.api.user}"')
    )
    return f"""{call}
        # If the answer has a token: self.api.headers["Authorization"] = f"Bearer {{answer['token']}}"
        # If a code is sent by mail: (await self.api.stub_calls("mail.example", containing=address))[-1].body"""


_COMPOSE = """# The container stack: `parity config write`, then `parity up --driver docker`. The rest is included.
include:
  - path: {harness}/src/parity/compose.yaml
    project_directory: .
    env_file: deploy/parity.env

services:
  # Compose only builds this image; Parity starts Machines from it. Add other services that the app needs here, on the
  # network public.
  api:
    image: ${{COMPOSE_PROJECT_NAME}}-api
    build:
      context: .
      dockerfile: {dockerfile}
      platforms: [linux/amd64]
      secrets: [ca]
    networks: [machines]
    deploy:
      replicas: 0
"""
_CONTRACT = '''"""The contract of {app}: how its people sign in, write and read, for Parity's checks.

Each instance stands for one person. `parity.contract` describes each method. A check that needs an absent method
ends as "not declared".
{listing}
"""

from __future__ import annotations

from collections.abc import Collection

from parity.contract import (  # noqa: F401
    Api, Edit, Elsewhere, InBucket, Job, JobState, OwnBucket, Prefix, Rate, Refusal, Refused, Socket, Uploaded,
)


class Contract:
    # Where people's data is stored: InBucket(prefix), or Elsewhere(). InBucket(…, within_s=5): a write reaches the
    # bucket up to 5 s after its answer (Litestream).
    keeps = {keeps}
    {environments}

    def __init__(self, api: Api) -> None:
        self.api = api

    async def sign_in(self) -> None:
        """Sign in a new person. self.api.user is a unique id. Cookies are kept; put a token into self.api.headers."""
        {sign_in}

    async def write(self, text: str) -> None:
        """Store a text. api.call raises for any status other than the expected one."""
        {write}

    async def read(self) -> Collection[str]:
        """Every text that this person has stored."""
        found = await self.api.call("GET", "{read}")
        items = found if isinstance(found, list) else next(value for value in found.values() if isinstance(value, list))
        return [item["{field}"] for item in items]

    # Optional parts. Each enables more checks (docs/your-own-backend.md).
    #
    # people = Rate(5, per_s=60) # where the app limits sign-ups: at most 5 new people within 60 s
    # public = [r"^/films/"] # paths at which everyone may read a person's data by design
    #
    # async def owns(self) -> str: # the prefix of this person's data in the bucket
    #     return f"staging/users/{{self.api.user}}/"
    #
    # async def cold_person(self) -> None: # the person returns in a new browser that knows only self.api.user
    #
    # async def edit(self): # two independent fields of one record
    #     async def rename(text): await self.api.call("PATCH", "/record", {{"name": text}})
    #     async def name(): return (await self.api.call("GET", "/record"))["name"]
    #     return [Edit(rename, name), Edit(…, …)]
    #
    # async def delete(self, text: str) -> None: # delete what write(text) stored
    #
    # async def refused(self): # requests that must fail, and with which status
    #     return [Refusal("GET", "/no-such-path", 404), Refusal("POST", "/things", 422, {{}})]
    #
    # async def sockets(self): # WebSockets; a browser can send a cookie or a subprotocol, but no other header
    #     return [Socket("/ws", expect="pattern of the first message", subprotocols=("v1", token))]
    #
    # async def upload(self, data: bytes): # as the page does; send_file sends the preflight too, and returns the ETag
    #     begun = await self.api.call("POST", "/uploads", {{"size": len(data)}}, expect=201)
    #     etag = await self.api.send_file(begun["url"], data, "video/mp4")
    #     return Uploaded(key_in_the_bucket, url_at_which_a_browser_plays_it)
    #
    # async def content(self, key: str) -> bytes: # the bytes of an upload, where the app itself serves them
    #
    # async def job(self): # begin the app's longest work, and return at once
    #     begun = await self.api.call("POST", "/jobs", expect=202)
    #     async def state():
    #         found = await self.api.call("GET", f"/jobs/{{begun['id']}}")
    #         return JobState("running" or "done" or "failed", reason=found["error"], keys=(key_of_the_result,))
    #     return Job(state, done_s=60)
    #
    # async def old_data(self): # data of former releases: {{"v1": OldData(objects={{key: bytes}}, shown=[text])}}
    #
    # async def crash(self): # a request that raises an exception in the app: Call("GET", "/debug/crash")
'''
