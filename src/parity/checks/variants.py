"""Broken variants: ways to break the running app or its environment on purpose, to prove that a check can fail.

These classes only describe a variant; ``parity.checks.stage`` applies it. None knows a route. A variant that needs
knowledge of the app is defined in ``Contract.broken``, and a check refers to it with ``Named``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parity import wraps


@dataclass(frozen=True, repr=False)
class Env:
    """A release with these environment variables changed; the value None removes a variable."""

    values: Mapping[str, str | None]

    def __repr__(self) -> str:
        given = (f"{name} removed" if value is None else f"{name}={value}" for name, value in self.values.items())
        return f"Env({', '.join(given)})"


@dataclass(frozen=True, repr=False)
class Wrap:
    """A release whose ASGI application is replaced by ``function(app, settings)``.

    Use it for what only code inside the app can do; ``Proxy`` works for apps in any language. The function's module is
    copied beside the app's entry module, so it must not import the harness. With ``starts`` False the stack does not
    wait until the release is healthy, because it may never be.
    """

    function: Callable[[Any, Mapping[str, Any]], Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    starts: bool = True

    def __repr__(self) -> str:
        module, name = self.function.__module__.rpartition(".")[2], self.function.__name__
        return f"Wrap({module if name == 'wrap' else name}{f', {dict(self.settings)}' if self.settings else ''})"


@dataclass(frozen=True)
class Patch:
    """A release in which ``old`` is replaced by ``new`` in one source file.

    ``file`` is a path below the app's sources. ``old`` must occur exactly once.
    """

    file: str
    old: str
    new: str
    starts: bool = True

    def applied(self, text: str) -> str:
        """The file's text with the change. Raises ``ValueError`` unless ``old`` occurs exactly once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file} has {text.count(self.old)} times, not once: {self.old.strip()[:80]!r}")
        return text.replace(self.old, self.new)

    def __str__(self) -> str:
        return f"Patch({self.file})"


@dataclass(frozen=True)
class Mutant:
    """A mistake in the app's sources that a check must notice (``parity check --mutants FILE``).

    ``caught_by`` is the name of the check. ``because`` is a pattern that its reason must match; where it is empty, the
    pattern of the check's mark counts.
    """

    name: str
    change: Change
    caught_by: str
    because: str = ""

    def __str__(self) -> str:
        return f"mutant {self.name}"


@dataclass(frozen=True, repr=False)
class Layer:
    """The image with these files added or replaced, by absolute path in the image. Needs containers."""

    files: Mapping[str, str]
    starts: bool = True

    def __repr__(self) -> str:
        return f"Layer({', '.join(self.files)})"


class Proxy:
    """A proxy between the edge and every Machine, which runs the function ``name`` of ``parity.wraps``."""

    def __init__(self, name: str, **settings: Any) -> None:
        if name not in wraps.PROXIED:
            raise ValueError(f"parity.wraps has no {name!r} for a proxy; there are {', '.join(sorted(wraps.PROXIED))}")
        self.name, self.settings = name, settings

    def __repr__(self) -> str:
        return f"Proxy({self.name}{''.join(f', {name}={value!r}' for name, value in self.settings.items())})"


@dataclass(frozen=True)
class R2Rules:
    """R2's stand-in without the rules of these numbers (docs/standins/r2-rules.md), such as ``"16"`` or ``"4,8"``."""

    off: str


@dataclass(frozen=True, repr=False)
class BucketCors:
    """The bucket with this CORS policy instead of the configured one."""

    rules: Sequence[Mapping[str, object]]

    def __repr__(self) -> str:
        return f"BucketCors({', '.join(f'{name} {value}' for rule in self.rules for name, value in rule.items())})"


class Fault:
    """A fault of a stand-in (``r2`` or ``modal``) for the whole check: the body of ``POST /{standin}/faults``."""

    def __init__(self, standin: str, **body: object) -> None:
        if standin not in ("r2", "modal"):
            raise ValueError(f"there is no stand-in {standin!r} with faults: use r2 or modal")
        self.standin, self.body = standin, body

    def __repr__(self) -> str:
        return f"Fault({self.standin}, {self.body})"


@dataclass(frozen=True, repr=False)
class Files:
    """The repository with changed files, for checks that only read files; nothing that runs is changed.

    ``change`` edits a copy of the repository, and the fixture ``checkout`` returns the copy. ``what`` describes the
    change in reports.
    """

    what: str
    change: Callable[[Path], None]

    def __repr__(self) -> str:
        return f"Files({self.what})"


@dataclass(frozen=True, repr=False)
class Named:
    """The variant ``broken[name]`` of the contract; ``otherwise`` where the contract does not define it."""

    name: str
    otherwise: Change | None = None

    def __repr__(self) -> str:
        return f"{self.name} of the contract" + (f", or {self.otherwise}" if self.otherwise is not None else "")


@dataclass(frozen=True)
class Both:
    """Several variants at once."""

    changes: Sequence[Change]


Change = Env | Patch | Wrap | Layer | Proxy | R2Rules | BucketCors | Fault | Files | Named | Both
