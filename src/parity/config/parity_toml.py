"""``parity.toml``: all that the harness knows of the app beside its ``fly.toml``."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from parity.config.errors import ConfigError
from parity.config.toml_file import load_model, read_toml

_PLACEHOLDER = re.compile(r"\{[a-z_]+\}")
_FILLED_IN = ("{python}", "{host}", "{port}")


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.hostname or parts.path or parts.query:
        raise ValueError("an origin is wanted, such as https://app.example (no path, no slash at the end)")
    return value


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Process(_Table):
    """How the backend starts where there is no Docker.

    ``{python}``, ``{port}`` and ``{host}`` (the address that the edge reaches Machines at) are filled in.
    """

    directory: str
    command: list[str] = Field(min_length=1)

    @field_validator("command")
    @classmethod
    def _has_port(cls, value: list[str]) -> list[str]:
        if not any("{port}" in word for word in value):
            raise ValueError("{port} must stand in it: each Machine gets a port of its own")
        unknown = [name for word in value for name in _PLACEHOLDER.findall(word) if name not in _FILLED_IN]
        if unknown:
            raise ValueError(f"{unknown[0]} is not filled in: one of {', '.join(_FILLED_IN)} is wanted")
        return value


class App(_Table):
    """The backend: paths are relative to ``parity.toml``."""

    fly_config: str
    image: str
    frontend_origin: str
    frontend_dir: str
    health_path: str = "/api/health"
    process: Process

    _check_origin = field_validator("frontend_origin")(_origin)


class Secrets(_Table):
    """File with the stand-in values of exactly the secrets that Fly holds."""

    file: str


class Standin(_Table):
    """``[standin.env]``: variables that a Machine has here and not on Fly; ``${PARITY_…}`` is filled in."""

    env: dict[str, str] = {}


class R2(_Table):
    """The bucket's CORS policy: the same file that a command applies to the real bucket."""

    cors: str


class Gpu(_Table):
    """The Modal app: its entry file, what must be importable, and the Modal secret that holds R2's credentials."""

    app: str
    entry: str
    pythonpath: list[str] = []
    secret: str


class LiveTarget(_Table):
    """A deployed app that checks may be pointed at; nothing that is not named here is ever addressed."""

    url: str
    frontend_origin: str

    _check_origin = field_validator("frontend_origin", "url")(_origin)


class ParityConfig(_Table):
    """The whole file."""

    app: App
    secrets: Secrets
    standin: Standin = Standin()
    r2: R2
    gpu: Gpu
    targets: dict[str, LiveTarget] = {}


def load_parity_config(path: Path) -> ParityConfig:
    """Read and check the file and that what it points at exists. Raises ``ConfigError``, naming file and key."""
    config = load_model(path, read_toml(path), ParityConfig)
    for key, relative in (
        ("app.fly_config", config.app.fly_config),
        ("app.frontend_dir", config.app.frontend_dir),
        ("app.process.directory", config.app.process.directory),
        ("secrets.file", config.secrets.file),
        ("r2.cors", config.r2.cors),
        ("gpu.entry", config.gpu.entry),
    ):
        if not (path.parent / relative).exists():
            raise ConfigError(f"{path}: {key}", f"{relative} does not exist", "a path relative to parity.toml")
    return config
