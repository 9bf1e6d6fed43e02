"""The messages between control plane and worker: one JSON object per WebSocket message.

worker → plane: ``Hello`` first, then ``Exited``, ``Deployed``. plane → worker: ``Welcome`` first, then ``Start``,
``Stop``, ``Deploy``, ``Die``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

PATH = "/worker/session"
FILES = "/worker/files"


@dataclass(frozen=True)
class Hello:
    """The worker's running containers, id → function."""

    tasks: dict[str, str]


@dataclass(frozen=True)
class Exited:
    """A container's process ended; negative codes are signals; ``log`` is the end of what it printed."""

    task_id: str
    code: int
    log: str


@dataclass(frozen=True)
class Welcome:
    """Names of the deployed apps: a worker deploys again when its own is not among them. ``debug``: as ``Debug``."""

    apps: list[str]
    debug: bool = False


@dataclass(frozen=True)
class Start:
    """Start a container. ``arguments`` is a ContainerArguments in base64, ``files`` path → SHA-256."""

    task_id: str
    function_id: str
    arguments: str
    header: str
    image_id: str
    environment: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stop:
    """Send a container a signal, by number."""

    task_id: str
    signal: int


@dataclass(frozen=True)
class Deploy:
    """Deploy the app again: its sources have changed."""


@dataclass(frozen=True)
class Debug:
    """Whether containers that start from now on listen for a debugger."""

    on: bool


@dataclass(frozen=True)
class Deployed:
    """The result of a ``Deploy``. ``problem`` is empty if it succeeded."""

    problem: str


@dataclass(frozen=True)
class Die:
    """A fault: lose every container and the connection at once, as when the worker's machine fails."""


Message = Hello | Exited | Deployed | Welcome | Start | Stop | Deploy | Debug | Die
_TYPES: dict[str, type[Message]] = {
    kind.__name__: kind for kind in (Hello, Exited, Deployed, Welcome, Start, Stop, Deploy, Debug, Die)
}


def encode(message: Message) -> str:
    return json.dumps({"type": type(message).__name__, **asdict(message)})


def decode(text: str | bytes) -> Message:
    """Raises ValueError for anything that ``encode`` did not make."""
    data: Any = json.loads(text)
    kind = _TYPES.get(data.pop("type", "")) if isinstance(data, dict) else None
    if kind is None or set(data) != {each.name for each in fields(kind)}:
        raise ValueError(f"not a message between control plane and worker: {str(text)[:120]!r}")
    return kind(**data)
