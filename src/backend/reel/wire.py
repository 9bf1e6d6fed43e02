"""Converts dataclasses to plain dicts and back. Errors name every unknown and missing field, or the wrong value.

The backend and the GPU functions use it for payloads of calls, so a wrong payload fails before a video is downloaded.
The backend ignores unknown fields of a result, because a promotion deploys the GPU functions before the backend.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

D = TypeVar("D")


class PayloadError(ValueError):
    """A payload is not valid; the message has the path of the value, the expected and the actual type or value."""


def to_wire(value: object) -> Any:
    """A dataclass as plain dicts, lists, strings and numbers, which pickle, JSON and modal.Dict can all carry."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_wire(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [to_wire(item) for item in value]
    return value


def from_wire(kind: type[D], data: object, where: str | None = None, *, ignore_unknown: bool = False) -> D:
    """An instance of the dataclass `kind` with the values of `data`. Raises PayloadError.

    `where` is the path for messages. `ignore_unknown` ignores unknown fields, in nested dataclasses too.
    """
    place = where or kind.__name__
    if not isinstance(data, Mapping):
        raise PayloadError(f"{place}: expected an object, got {type(data).__name__}")
    hints = _hints(kind)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(str(key) for key in data if key not in known)
    if unknown and not ignore_unknown:
        raise PayloadError(f"{place}: unknown {_names(unknown)}; expected only {_names(sorted(known))}")
    missing = [
        name
        for name, field in known.items()
        if name not in data and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        raise PayloadError(f"{place}: missing {_names(missing)}")
    values = {name: _read(hints[name], data[name], f"{place}.{name}", ignore_unknown) for name in known if name in data}
    return kind(**values)


def _hints(kind: type[object]) -> dict[str, Any]:
    return get_type_hints(kind)


def _names(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _read(kind: Any, value: object, where: str, ignore_unknown: bool) -> Any:
    origin = get_origin(kind)
    if origin is Literal:
        allowed = get_args(kind)
        if value not in allowed:
            raise PayloadError(f"{where}: expected one of {', '.join(map(repr, allowed))}, got {value!r}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(kind):
            return None
        (inner,) = [option for option in get_args(kind) if option is not type(None)]
        return _read(inner, value, where, ignore_unknown)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise PayloadError(f"{where}: expected a list, got {type(value).__name__}")
        inner = get_args(kind)[0]
        return tuple(_read(inner, item, f"{where}[{index}]", ignore_unknown) for index, item in enumerate(value))
    if isinstance(kind, type) and is_dataclass(kind):
        return from_wire(kind, value, where, ignore_unknown=ignore_unknown)
    return _scalar(kind, value, where)


def _scalar(kind: Any, value: object, where: str) -> Any:
    # In Python bool is a subclass of int, but it is not accepted as a number.
    if isinstance(value, bool) and kind is not bool:
        raise PayloadError(f"{where}: expected {kind.__name__}, got bool")
    if kind is float and isinstance(value, int | float):
        if not math.isfinite(value):
            raise PayloadError(f"{where}: expected a finite number, got {value}")
        return float(value)
    if not isinstance(value, kind):
        raise PayloadError(f"{where}: expected {kind.__name__}, got {type(value).__name__}")
    return value
