"""Ways to break the app that runs, or what is around it; ``parity.checks.stage`` puts them in place.

None knows a route. What only the app can name is ``Named`` and stands in ``Contract.broken``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parity import wraps


@dataclass(frozen=True, repr=False)
class Env:
    """A release with these variables over the configured ones; None removes one."""

    values: Mapping[str, str | None]

    def __repr__(self) -> str:
        given = (f"{name} removed" if value is None else f"{name}={value}" for name, value in self.values.items())
        return f"Env({', '.join(given)})"


@dataclass(frozen=True, repr=False)
class Wrap:
    """A release whose ASGI application is ``function(app, settings)``.

    The function's module is copied beside the app's entry module, so it imports nothing of the harness. For what only
    code inside the app can do; ``Proxy`` works for any language. ``starts`` False: the release may never be healthy.
    """

    function: Callable[[Any, Mapping[str, Any]], Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    starts: bool = True

    def __repr__(self) -> str:
        module, name = self.function.__module__.rpartition(".")[2], self.function.__name__
        return f"Wrap({module if name == 'wrap' else name}{f', {dict(self.settings)}' if self.settings else ''})"


@dataclass(frozen=True)
class Patch:
    """A release whose source ``file``, a path below the app's sources, has ``new`` in place of ``old``, which must
    stand there once."""

    file: str
    old: str
    new: str
    starts: bool = True

    def applied(self, text: str) -> str:
        """The file's text with the change. Raises ``ValueError`` where ``old`` is not there, or several times."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file} has {text.count(self.old)} times, not once: {self.old.strip()[:80]!r}")
        return text.replace(self.old, self.new)

    def __str__(self) -> str:
        return f"Patch({self.file})"


@dataclass(frozen=True)
class Mutant:
    """A mistake in the app that a check must notice (``parity check --mutants FILE``): ``caught_by`` is the check's
    name, ``because`` a pattern of its reason; empty: that of the check's own broken variant."""

    name: str
    change: Change
    caught_by: str
    because: str = ""

    def __str__(self) -> str:
        return f"mutant {self.name}"


@dataclass(frozen=True, repr=False)
class Layer:
    """The image with these files on top, by absolute path in the image. Needs containers."""

    files: Mapping[str, str]
    starts: bool = True

    def __repr__(self) -> str:
        return f"Layer({', '.join(self.files)})"


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


@dataclass(frozen=True, repr=False)
class BucketCors:
    """The bucket with this CORS policy in place of the configured one."""

    rules: Sequence[Mapping[str, object]]

    def __repr__(self) -> str:
        return f"BucketCors({', '.join(f'{name} {value}' for rule in self.rules for name, value in rule.items())})"


class Fault:
    """A fault of a stand-in (``r2`` or ``modal``) that stays: the body of ``POST /{standin}/faults``."""

    def __init__(self, standin: str, **body: object) -> None:
        if standin not in ("r2", "modal"):
            raise ValueError(f"there is no stand-in {standin!r} with faults: r2 or modal is wanted")
        self.standin, self.body = standin, body

    def __repr__(self) -> str:
        return f"Fault({self.standin}, {self.body})"


@dataclass(frozen=True, repr=False)
class Files:
    """The repository with other files: ``change`` alters a copy of it, which the fixture ``checkout`` then gives.

    ``what`` says it in words. For checks of what is written in files; nothing that runs is touched.
    """

    what: str
    change: Callable[[Path], None]

    def __repr__(self) -> str:
        return f"Files({self.what})"


@dataclass(frozen=True, repr=False)
class Named:
    """The variant ``broken[name]`` of the contract; ``otherwise`` where the contract has none."""

    name: str
    otherwise: Change | None = None

    def __repr__(self) -> str:
        return f"{self.name} of the contract" + (f", or {self.otherwise}" if self.otherwise is not None else "")


@dataclass(frozen=True)
class Both:
    """Several variants at once."""

    changes: Sequence[Change]


Change = Env | Patch | Wrap | Layer | Proxy | R2Rules | BucketCors | Fault | Files | Named | Both
