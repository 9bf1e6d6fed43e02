"""Reads ``parity.toml``, which describes the app to the harness, together with the app's ``fly.toml``.

A table is needed only for what the backend has. Without it, the backend has no page, no GPU functions, or no service
beside R2.
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
    """Raises ``ValueError`` for a ``{name}`` that is not filled in."""
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
    """How the backend starts where there is no Docker: what the Dockerfile's CMD is to the image.

    ``{python}``, ``{port}``, ``{host}`` (the address that the edge reaches Machines at) and ``{root}`` (the folder of
    ``parity.toml``) are filled in. ``python`` is the interpreter, relative to ``parity.toml``; by default
    ``.venv/bin/python`` where that exists, else the harness's own. ``env`` is what ENV of the Dockerfile gives the
    image; the same words are filled in there, for a server that reads its port from a variable. A relative path there
    lies in the Machine's own folder; an absolute one is shared by all Machines.
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
    """``[processes.NAME]``: how the Machines of that process group of ``fly.toml`` start where there is no Docker."""

    command: ProcessCommand


class App(_Table):
    """The backend: paths are relative to ``parity.toml``.

    ``frontend_origin`` is empty where page and API are one; ``frontend_dir`` is empty where the page lies in another
    repository. ``health_path`` is empty by default: the path of the first check of ``fly.toml``. ``version`` is where
    the app reports its commit: a path and a key of the JSON object there, such as ``/api/status#commit``.
    """

    fly_config: str = "fly.toml"
    frontend_origin: Origin = ""
    frontend_dir: str = ""
    health_path: str = ""
    version: str = Field(default="", pattern=r"^$|^/[^#]*#[A-Za-z0-9_-]+$")
    process: Process | None = None


class SecretNames(_Table):
    """``[secrets.names]``: what the app calls each value that the harness needs too."""

    R2_ENDPOINT: str = "R2_ENDPOINT"
    R2_ACCESS_KEY_ID: str = "R2_ACCESS_KEY_ID"
    R2_SECRET_ACCESS_KEY: str = "R2_SECRET_ACCESS_KEY"  # a variable's name
    R2_BUCKET: str = "R2_BUCKET"
    MODAL_TOKEN_ID: str = "MODAL_TOKEN_ID"  # a variable's name
    MODAL_TOKEN_SECRET: str = "MODAL_TOKEN_SECRET"  # a variable's name


class Secrets(_Table):
    """File with the stand-in values of exactly the secrets that Fly holds.

    ``optional`` names secrets that Fly may hold beside them; a promotion warns when one is missing.
    """

    file: str
    optional: list[str] = []
    names: SecretNames = SecretNames()


class Override(_Table):
    """A value that a Machine has here in place of the one that ``fly.toml`` gives it, and why it must differ."""

    value: str
    reason: str = Field(min_length=10)


class Standin(_Table):
    """What differs here from Fly; ``parity diff`` prints all of it, and ``${PARITY_…}`` is filled in.

    ``[standin.env]`` adds variables that Fly does not have. ``[standin.override]`` replaces values that it has.
    """

    env: Variables = {}
    override: dict[str, Override] = {}


class R2(_Table):
    """The bucket's CORS policy: the same file that a command applies to the real bucket. Empty: a bucket without."""

    cors: str = ""


class Gpu(_Table):
    """The Modal app: its entry file and what must be importable.

    ``secret`` names a Modal secret that holds R2's credentials under their usual names. ``secrets`` gives others, each
    with its own variables; ``${NAME}`` stands for a secret of ``[secrets]`` or a ``PARITY_…`` address.
    ``requirements`` is a file with the packages of the functions' images, for functions that need others than the
    harness has.
    """

    app: str
    entry: str
    pythonpath: list[str] = []
    secret: str = ""
    secrets: dict[str, Variables] = {}
    requirements: str = ""


class Service(_Table):
    """``[services.NAME]``: a database, cache or queue that the app needs beside R2 and Modal.

    Machines reach it through a proxy of the harness at ``port``, which a check closes to take the service away.
    Without Docker, ``prepare`` runs once while ``{data}`` is an empty folder, then ``command`` runs until the stack
    stops; ``{port}`` is the service's own port behind the proxy. ``ready`` exits with 0 once it can be used; without
    it an open port is enough. With Docker ``address`` is the compose service and port behind the proxy. ``migrate``
    runs on the new database, in a Machine's environment, before the first Machine starts.
    ``user`` is whom the service runs as where the harness is root: some servers refuse root.
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
            raise ValueError("expected command (how it runs without Docker), address (its compose service), or both")
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
    """What a stub answers: ``json`` or ``text``, after ``delay_s`` seconds."""

    status: int = Field(default=200, ge=200, le=599)
    json_: object = Field(default=None, alias="json")
    text: str = ""
    headers: dict[str, str] = {}
    delay_s: float = Field(default=0.0, ge=0, le=600)


class Stub(_Table):
    """``[stubs."host"]``: an API of others that the app calls. Keys of ``answers`` are ``METHOD /path``; ``*`` at a
    path's end stands for any rest. Anything else is answered 501."""

    answers: dict[str, Answer] = {}

    @field_validator("answers")
    @classmethod
    def _method_and_path(cls, value: dict[str, Answer]) -> dict[str, Answer]:
        for key in value:
            if not re.fullmatch(r"[A-Z]+ /\S*", key):
                raise ValueError(f"{key!r}: expected METHOD /path, such as 'POST /v1/charges'")
        return value


class Checks(_Table):
    """The app's own part of the checks: its contract, and a folder of checks that only this app has."""

    contract: str = ""
    folder: str = ""


class Promotion(_Table):
    """How a promotion learns whether the release can be taken back once it has served requests.

    ``knows`` runs in the image that would be gone back to and prints what that release can work with. ``way_back`` runs
    in the new image with that text for ``{knows}``: exit status 0 where the way back stays open, else it says on stderr
    what closes it. Both run without network, environment or secrets. Empty: the promotion does not ask.
    """

    knows: list[str] = []
    way_back: list[str] = []

    @model_validator(mode="after")
    def _both(self) -> Promotion:
        if bool(self.knows) != bool(self.way_back):
            raise ValueError("only one of knows and way_back is set; set both or neither")
        if self.way_back and "{knows}" not in self.way_back:
            raise ValueError(
                "{knows} is missing: it must be a separate word of way_back, for what the other release printed"
            )
        return self


class LiveTarget(_Table):
    """A deployed app that checks may be pointed at; nothing that is not named here is ever addressed."""

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
    """Read and check the file. Raises ``ConfigError``, naming every mistake; ``missing_paths`` finds more of them."""
    return load_model(path, read_toml(path), ParityConfig)


def missing_paths(path: Path, config: ParityConfig) -> list[ConfigError]:
    """One mistake for each file or folder that the file names and that does not exist."""
    return [
        ConfigError(f"{path}: {key}", f"{relative} does not exist", "a path relative to parity.toml")
        for key, relative in _paths(config)
        if relative and not (path.parent / relative).exists()
    ]


def _paths(config: ParityConfig) -> Iterator[tuple[str, str]]:
    """Every key that names a file or folder, with its value; fly.toml is read, and missed, by its own reader."""
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
