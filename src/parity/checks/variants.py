"""Ways to break the app that runs, or what is around it; ``parity.checks.stage`` puts them in place.

None knows a route. What only the app can name is ``Named`` and stands in ``Contract.broken``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from parity import wraps


@dataclass(frozen=True)
class Env:
    """A release with these variables over the configured ones; None removes one."""

    values: Mapping[str, str | None]


@dataclass(frozen=True)
class Wrap:
    """A release whose ASGI application is ``function(app, settings)``.

    The function's module is copied beside the app's entry module, so it imports nothing of the harness. For what only
    code inside the app can do; ``Proxy`` works for any language. ``starts`` False: the release may never be healthy.
    """

    function: Callable[[Any, Mapping[str, Any]], Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    starts: bool = True


@dataclass(frozen=True)
class Layer:
    """The image with these files on top, by absolute path in the image. Needs containers."""

    files: Mapping[str, str]
    starts: bool = True


class Proxy:
    """A proxy between the edge and every Machine that does what the function ``name`` of ``parity.wraps`` says."""

    def __init__(self, name: str, **settings: Any) -> None:
        if name not in wraps.PROXIED:
            raise ValueError(f"parity.wraps has no {name!r} for a proxy; there are {', '.join(sorted(wraps.PROXIED))}")
        self.name, self.settings = name, settings

    def __repr__(self) -> str:
        return f"Proxy({self.name}{''.join(f', {name}={value!r}' for name, value in self.settings.items())})"


@dataclass(frozen=True)
class R2Rules:
    """An R2 in which the rules with these numbers (docs/standins/r2-rules.md) do not hold, such as ``"16"``."""

    off: str


@dataclass(frozen=True)
class BucketCors:
    """The bucket with this CORS policy in place of the configured one."""

    rules: Sequence[Mapping[str, object]]


class Fault:
    """A fault of a stand-in (``r2`` or ``modal``) that stays: the body of ``POST /{standin}/faults``."""

    def __init__(self, standin: str, **body: object) -> None:
        if standin not in ("r2", "modal"):
            raise ValueError(f"there is no stand-in {standin!r} with faults: r2 or modal is wanted")
        self.standin, self.body = standin, body

    def __repr__(self) -> str:
        return f"Fault({self.standin}, {self.body})"


@dataclass(frozen=True)
class Named:
    """The variant ``broken[name]`` of the contract; ``otherwise`` where the contract has none."""

    name: str
    otherwise: Change | None = None


@dataclass(frozen=True)
class Both:
    """Several variants at once."""

    changes: Sequence[Change]


Change = Env | Wrap | Layer | Proxy | R2Rules | BucketCors | Fault | Named | Both
