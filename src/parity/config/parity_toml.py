"""Reads ``parity.toml``, which describes the app to the harness, together with the app's ``fly.toml``.

Each table is optional. A missing table means that the backend does not have that part: no page, no GPU functions, no
service other than R2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from parity.config.dev_table import Dev
from parity.config.errors import ConfigError
from parity.config.toml_file import load_model, read_toml

_PLACEHOLDER = re.compile(r"\{[a-z_]+\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PROCESS_WORDS = ("{python}", "{host}", "{port}", "{root}")
SERVICE_WORDS = ("{python}", "{host}", "{port}", "{root}", "{data}")


def _origin(value: str) -> str:
    if not value:
        return value
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.hostname or parts.path or parts.query:
        raise ValueError("expected an origin such as https://app.example: no path, no slash at the end")
    return value


def _only(value: list[str], known: tuple[str, ...]) -> list[str]:
    """Raises ``ValueError`` for a placeholder that is not in ``known``."""
    unknown = [name for word in value for name in _PLACEHOLDER.findall(word) if name not in known]
    if unknown:
        raise ValueError(f"unknown placeholder {unknown[0]}; expected one of {', '.join(known)}")
    return value


def _process_words(value: list[str]) -> list[str]:
    return _only(value, PROCESS_WORDS)


def _service_words(value: list[str]) -> list[str]:
    return _only(value, SERVICE_WORDS)


def _variables(value: dict[str, str]) -> dict[str, str]:
    for name in value:
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"{name!r} is not a valid variable name: letters, digits and _, no digit first")
    return value


Origin = Annotated[str, AfterValidator(_origin)]
ProcessCommand = Annotated[list[str], Field(min_length=1), AfterValidator(_process_words)]
ServiceCommand = Annotated[list[str], AfterValidator(_service_words)]
Variables = Annotated[dict[str, str], AfterValidator(_variables)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Process(_Table):
    """``[app.process]``: how the backend starts without Docker, as CMD and ENV of the Dockerfile do in an image.

    These placeholders are replaced in ``command`` and ``env``: ``{python}``, ``{port}``, ``{host}`` (the Machine's
    address) and ``{root}`` (the folder of ``parity.toml``). ``python`` is the interpreter, relative to ``parity.toml``.
    Default: ``.venv/bin/python`` if it exists, else the harness's interpreter. A relative path in ``env`` is inside the
    Machine's own folder; an absolute path is shared by all Machines.
    """

    directory: str = "."
    command: ProcessCommand
    python: str = ""
    env: Variables = {}

    @field_validator("env")
    @classmethod
    def _known_words(cls, value: dict[str, str]) -> dict[str, str]:
        _only(list(value.values()), PROCESS_WORDS)
        return value

    @model_validator(mode="after")
    def _has_port(self) -> Process:
        if not any("{port}" in word for word in (*self.command, *self.env.values())):
            raise ValueError(
                "{port} is missing: put it into command, or into a variable of env that the server reads"
                ' (PORT = "{port}"). Each Machine gets its own port'
            )
        return self


class Group(_Table):
    """``[processes.NAME]``: how Machines of that process group of ``fly.toml`` start without Docker."""

    command: ProcessCommand


class App(_Table):
    """``[app]``: the backend. Paths are relative to ``parity.toml``.

    ``frontend_origin`` is empty if page and API have the same origin. ``frontend_dir`` is empty if the page is in
    another repository. ``health_path`` defaults to the path of the first check of ``fly.toml``. ``version`` is the
    place where the app reports its commit: a path and a key of the JSON object there, such as ``/api/status#commit``.
    """

    fly_config: str = "fly.toml"
    frontend_origin: Origin = ""
    frontend_dir: str = ""
    health_path: str = ""
    version: str = Field(default="", pattern=r"^$|^/[^#]*#[A-Za-z0-9_-]+$")
    process: Process | None = None


class SecretNames(_Table):
    """``[secrets.names]``: the app's variable names for the values that the harness also needs."""

    R2_ENDPOINT: str = "R2_ENDPOINT"
    R2_ACCESS_KEY_ID: str = "R2_ACCESS_KEY_ID"
    R2_SECRET_ACCESS_KEY: str = "R2_SECRET_ACCESS_KEY"  # a variable's name
    R2_BUCKET: str = "R2_BUCKET"
    MODAL_TOKEN_ID: str = "MODAL_TOKEN_ID"  # a variable's name
    MODAL_TOKEN_SECRET: str = "MODAL_TOKEN_SECRET"  # a variable's name


class Secrets(_Table):
    """``[secrets]``: a file with stand-in values for exactly the secrets that are set on Fly.

    ``optional`` names additional secrets that may be set on Fly; a promotion warns if one is missing.
    """

    file: str
    optional: list[str] = []
    names: SecretNames = SecretNames()


class Override(_Table):
    """``[standin.override.NAME]``: the value that replaces Fly's value here, and the reason for the difference."""

    value: str
    reason: str = Field(min_length=10)


class Standin(_Table):
    """``[standin]``: differences from Fly. ``${PARITY_…}`` is replaced; ``parity diff`` prints all of them.

    ``env`` adds variables that are not set on Fly. ``override`` replaces values that are set there.
    """

    env: Variables = {}
    override: dict[str, Override] = {}


class R2(_Table):
    """``[r2]``: the file of the CORS policy, which is also applied to the real bucket. Empty: no CORS policy."""

    cors: str = ""


class Gpu(_Table):
    """``[gpu]``: the Modal app, its entry file and the folders of its modules.

    ``secret`` is the name of the Modal secret with R2's credentials under their usual names. ``secrets`` defines
    further Modal secrets with their variables; ``${NAME}`` is replaced by a secret of ``[secrets]`` or a ``PARITY_…``
    address. ``requirements`` is a file with the packages of the functions' images, needed if the harness lacks some of
    them.
    """

    app: str
    entry: str
    pythonpath: list[str] = []
    secret: str = ""
    secrets: dict[str, Variables] = {}
    requirements: str = ""


class Service(_Table):
    """``[services.NAME]``: a database, cache or queue that the app needs in addition to R2 and Modal.

    Machines reach it through a proxy of the harness at ``port``; checks close the proxy to make the service
    unavailable. Without Docker, ``prepare`` runs once when the folder ``{data}`` is empty, then ``command`` runs until
    the stack stops; ``{port}`` is the service's own port behind the proxy. ``ready`` exits with 0 when the service can
    be used; without it an open port is enough. With Docker, ``address`` is the compose service and port behind the
    proxy. ``migrate`` runs in a Machine's environment before the first Machine starts on a new database. If the harness
    runs as root, the service runs as ``user``, because some servers refuse to run as root.
    """

    port: int = Field(ge=1, le=65535)
    command: ServiceCommand = []
    prepare: ServiceCommand = []
    ready: ServiceCommand = []
    migrate: ServiceCommand = []
    address: str = ""
    user: str = ""

    @model_validator(mode="after")
    def _runs_somewhere(self) -> Service:
        if not self.command and not self.address:
            raise ValueError("expected command (to run without Docker), address (its compose service), or both")
        return self

    @field_validator("command")
    @classmethod
    def _has_port(cls, value: list[str]) -> list[str]:
        if value and not any("{port}" in word for word in value):
            raise ValueError("{port} is missing; it is replaced by the port on which the service must listen")
        return value

    @field_validator("address")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Za-z0-9_.-]+:\d+", value):
            raise ValueError("expected host:port, such as postgres:5432")
        return value


class Answer(_Table):
    """The response of a stub: ``json`` or ``text``, after ``delay_s`` seconds."""

    status: int = Field(default=200, ge=200, le=599)
    json_: object = Field(default=None, alias="json")
    text: str = ""
    headers: dict[str, str] = {}
    delay_s: float = Field(default=0.0, ge=0, le=600)


class Stub(_Table):
    """``[stubs."host"]``: an external API that the app calls. Keys of ``answers`` are ``METHOD /path``; ``*`` at the
    end of a path matches any rest. All other requests get 501."""

    answers: dict[str, Answer] = {}

    @field_validator("answers")
    @classmethod
    def _method_and_path(cls, value: dict[str, Answer]) -> dict[str, Answer]:
        for key in value:
            if not re.fullmatch(r"[A-Z]+ /\S*", key):
                raise ValueError(f"{key!r}: expected METHOD /path, such as 'POST /v1/charges'")
        return value


class Checks(_Table):
    """``[checks]``: the app's contract, and the folder of the app's own checks."""

    contract: str = ""
    folder: str = ""


class Promotion(_Table):
    """``[promotion]``: how a promotion finds out whether a rollback will be possible after the release served requests.

    ``knows`` runs in the image of the current release and prints which data it supports (such as schema versions).
    ``way_back`` runs in the new image, with that output in place of ``{knows}``. It exits with 0 if a rollback stays
    possible; otherwise it prints the reason on stderr. Both run without network, environment and secrets. If both are
    empty, the promotion does not check this.
    """

    knows: list[str] = []
    way_back: list[str] = []

    @model_validator(mode="after")
    def _both(self) -> Promotion:
        if bool(self.knows) != bool(self.way_back):
            raise ValueError("only one of knows and way_back is set; set both or neither")
        if self.way_back and "{knows}" not in self.way_back:
            raise ValueError(
                "{knows} is missing: it must be a separate word of way_back; the output of `knows` replaces it"
            )
        return self


class LiveTarget(_Table):
    """``[targets.NAME]``: a deployed app on which checks may run. The harness contacts no other deployed app."""

    url: Origin
    frontend_origin: Origin = ""

    @field_validator("url")
    @classmethod
    def _given(cls, value: str) -> str:
        if not value:
            raise ValueError("expected the app's URL, such as https://app.fly.dev")
        return value


class ParityConfig(_Table):
    """The whole file."""

    app: App = App()
    secrets: Secrets | None = None
    standin: Standin = Standin()
    r2: R2 = R2()
    gpu: Gpu | None = None
    processes: dict[str, Group] = {}
    services: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")], Service] = {}
    stubs: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")], Stub] = {}
    checks: Checks = Checks()
    promotion: Promotion = Promotion()
    dev: Dev = Dev()
    targets: dict[str, LiveTarget] = {}


def load_parity_config(path: Path) -> ParityConfig:
    """Read and validate the file. Raises ``ConfigError`` with every mistake except those of ``missing_paths``."""
    return load_model(path, read_toml(path), ParityConfig)


def missing_paths(path: Path, config: ParityConfig) -> list[ConfigError]:
    """A ``ConfigError`` for each file or folder in ``config`` that does not exist."""
    return [
        ConfigError(f"{path}: {key}", f"{relative} does not exist", "a path relative to parity.toml")
        for key, relative in _paths(config)
        if relative and not (path.parent / relative).exists()
    ]


def _paths(config: ParityConfig) -> Iterator[tuple[str, str]]:
    """Each key with a path, and the path. fly.toml is left out, because its reader reports if it is missing."""
    yield "app.frontend_dir", config.app.frontend_dir
    if config.app.process:
        yield "app.process.directory", config.app.process.directory
        yield "app.process.python", config.app.process.python
    if config.secrets:
        yield "secrets.file", config.secrets.file
    yield "r2.cors", config.r2.cors
    if config.gpu:
        yield "gpu.entry", config.gpu.entry
        yield "gpu.requirements", config.gpu.requirements
        for number, folder in enumerate(config.gpu.pythonpath):
            yield f"gpu.pythonpath.{number}", folder
    yield "checks.contract", config.checks.contract
    yield "checks.folder", config.checks.folder
    for folder in config.dev.mounts:
        yield f"dev.mounts.{folder}", folder
