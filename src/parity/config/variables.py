"""Settings as environment variables: the fields of a frozen dataclass are the rows of a table.

Each field is a ``setting(…)`` with the variable's name, its kind, its default (a text that is parsed like any other
value) and its purpose. The backend's ``app/settings.py`` has the same form. The tables generate the documentation page
and the ``--help`` of the stand-ins; unknown names are refused; a test compares them with what compose passes on.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar

from parity.config.errors import ConfigError, Mistakes

T = TypeVar("T")
PREFIX = "PARITY_"


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A form of value: ``parse`` raises ``ValueError`` for every text that is not ``expected``."""

    parse: Callable[[str], T]
    expected: str


@dataclass(frozen=True)
class Variable:
    """One row of a table. ``inside``: compose.yaml sets it for its containers, no developer has to."""

    field: str
    name: str
    kind: Kind[Any]
    default: str
    help: str
    secret: bool
    inside: bool


def setting(name: str, kind: Kind[T], default: str, help_: str, *, secret: bool = False, inside: bool = False) -> T:
    """The default of a dataclass field that an environment variable sets."""
    metadata = {"variable": Variable("", name, kind, default, help_, secret, inside)}
    made: Any = field(default_factory=lambda: kind.parse(default), metadata=metadata, repr=not secret)
    value: T = made
    return value


def rows(table: type[Any]) -> tuple[Variable, ...]:
    """The variables of a settings class, in the order of its fields."""
    found = []
    for item in fields(table):
        row: Variable = item.metadata["variable"]
        found.append(Variable(item.name, row.name, row.kind, row.default, row.help, row.secret, row.inside))
    return tuple(found)


def names(*tables: type[Any]) -> tuple[str, ...]:
    """The names of all variables of ``tables``."""
    return tuple(row.name for table in tables for row in rows(table))


def read(table: type[Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The value of each field; an unset or empty variable takes its default.

    Raises one ``ConfigError`` with every variable that cannot be used and the form that it wants.
    """
    values: dict[str, Any] = {}
    mistakes = Mistakes()
    for row in rows(table):
        text = environ.get(row.name) or row.default
        try:
            values[row.field] = row.kind.parse(text)
        except ValueError:
            shown = "the given value" if row.secret else repr(text)
            error = ConfigError(row.name, f"{shown} cannot be used", row.kind.expected, f"set or unset {row.name}")
            mistakes.found.append(error)
    mistakes.raise_any()
    return values


def refuse_unknown(environ: Mapping[str, str], known: Iterable[str], prefix: str = PREFIX) -> None:
    """Raises one ``ConfigError`` for all names in ``environ`` that begin with ``prefix`` and are not ``known``."""
    listed = sorted(known)
    mistakes = Mistakes()
    for name in sorted(environ):
        if name.startswith(prefix) and name not in listed:
            close = difflib.get_close_matches(name, listed, 1, cutoff=0.7)
            expected = f"did you mean {close[0]}?" if close else "a name of docs/settings-parity.md"
            mistakes.found.append(ConfigError(name, "there is no such setting", expected, f"unset {name}"))
    mistakes.raise_any()


def markdown(table: type[Any]) -> str:
    """The table as Markdown."""
    lines = ["| variable | default | expected | what it is for |", "|---|---|---|---|"]
    for row in rows(table):
        default = f"`{row.default}`" if row.default else "–"
        help_ = f"{row.help} (set by compose.yaml)" if row.inside else row.help
        lines.append(f"| `{row.name}` | {default} | {row.kind.expected} | {help_} |")
    return "\n".join(lines) + "\n"


def help_text(table: type[Any]) -> str:
    """The table for a terminal: what a developer may set, one variable a paragraph."""
    shown = [row for row in rows(table) if not row.inside]
    return "\n".join(f"  {row.name}={row.default or '(none)'}\n      {row.help} ({row.kind.expected})" for row in shown)


# ---- kinds that several tables share ---------------------------------------------------------------------------------


def number(low: float, high: float, unit: str = "") -> Kind[float]:
    """A number between two bounds."""

    def parse(text: str) -> float:
        value = float(text)
        if not low <= value <= high:  # false for NaN too
            raise ValueError(text)
        return value

    return Kind(parse, f"{unit or 'a number'} from {low:g} to {high:g}")


def integer(low: int, high: int) -> Kind[int]:
    """A whole number between two bounds."""

    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return Kind(parse, f"a whole number from {low} to {high}")


def choice(*options: str) -> Kind[str]:
    """One of some words."""

    def parse(text: str) -> str:
        if text not in options:
            raise ValueError(text)
        return text

    return Kind(parse, " or ".join(options))


def _switch(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def as_text(value: object) -> str:
    """The text that a variable takes for a value of a text, number, path or switch."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _url(text: str) -> str:
    if text and not text.startswith(("http://", "https://")):
        raise ValueError(text)
    return text.rstrip("/")


def _host(text: str) -> str:
    if not text or text != text.strip() or "/" in text:
        raise ValueError(text)
    return text


TEXT: Kind[str] = Kind(str, "text")
PATH: Kind[str] = Kind(str, "a path")
SWITCH = Kind(_switch, "true or false")
PORT = integer(1, 65535)
URL = Kind(_url, "a URL that begins with http:// or https://")
HOST = Kind(_host, "a host name or address")
