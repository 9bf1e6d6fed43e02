"""Types of environment variables: how the text is parsed, and how messages describe the expected form."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from app.ids import is_id

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A type of setting: `parse` raises ValueError for anything that is not `expected`."""

    parse: Callable[[str], T]
    expected: str


def _bool(text: str) -> bool:
    word = text.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(text)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError(text)
    _ = parts.port  # raises ValueError for an invalid port
    return text.rstrip("/")


def _origin(text: str) -> str:
    parts = urlsplit(_url(text))
    if parts.path:
        raise ValueError(text)
    return text.rstrip("/").lower()


def _origins(text: str) -> tuple[str, ...]:
    return tuple(_origin(part.strip()) for part in text.split(",") if part.strip())


def _identifier(text: str) -> str:
    if not is_id(text):
        raise ValueError(text)
    return text


def _token(text: str) -> str:
    if not re.fullmatch(r"[!-~]{1,512}", text):
        raise ValueError(text)
    return text


def _bucket(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", text):
        raise ValueError(text)
    return text


def _read_check(text: str) -> float:
    if text == "always":
        return 0.0
    if text == "never":
        return math.inf
    return seconds(0, 86_400).parse(text)


def integer(low: int, high: int) -> Kind[int]:
    """A whole number of at least `low` and at most `high`."""

    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return Kind(parse, f"a whole number from {low} to {high}")


def seconds(low: float, high: float) -> Kind[float]:
    """A number of seconds of at least `low` and at most `high`."""

    def parse(text: str) -> float:
        value = float(text)
        if not low <= value <= high:  # false for NaN too
            raise ValueError(text)
        return value

    return Kind(parse, f"seconds from {low:g} to {high:g}")


def choice(options: type[E]) -> Kind[E]:
    """One of the values of an enumeration."""
    return Kind(options, "one of " + ", ".join(option.value for option in options))


BOOL = Kind(_bool, "true or false")
TEXT: Kind[str] = Kind(str, "text")
PATH: Kind[Path] = Kind(lambda text: Path(text).expanduser().resolve(), "a folder")
URL = Kind(_url, "an http or https address without query")
ORIGINS = Kind(_origins, "origins like https://app.example, separated by commas, without paths")
IDENTIFIER = Kind(_identifier, "letters, digits, - and _, at most 64, beginning with a letter or digit")
TOKEN = Kind(_token, "1 to 512 visible ASCII characters without spaces, because it is sent in a header")
BUCKET = Kind(_bucket, "a bucket name: 3 to 63 lower-case letters, digits and -")
READ_CHECK = Kind(_read_check, "always, never, or seconds from 0 to 86400")
