"""The fields and values of payloads that a release accepts, so that a backend can compare them with the GPU functions'.

The GPU functions are deployed on their own and may be older than the backend. They read payloads strictly, so a field
or a choice that they do not know ends the call. What `taken` returns is the answer of their `describe` function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from reel.payloads import DetectItem, DetectPlayers, ExtractClip, ReelClip, RenderOptions, RenderReel
from reel.wire import to_wire

Taken = dict[str, list[Any] | None]
"""`Kind.field` to the values that it may have; None where those are not a fixed choice."""

_KINDS = (ExtractClip, RenderReel, ReelClip, RenderOptions, DetectPlayers, DetectItem)


def taken() -> Taken:
    """The fields and values that this release accepts."""
    found: Taken = {}
    for kind in _KINDS:
        hints = get_type_hints(kind)
        for field in fields(kind):
            hint = hints[field.name]
            found[f"{kind.__name__}.{field.name}"] = list(get_args(hint)) if get_origin(hint) is Literal else None
    return found


def beyond(own: Taken, theirs: Taken) -> list[str]:
    """The fields and choices of ``own`` that ``theirs`` lacks, sorted."""
    lacking = []
    for name, choices in own.items():
        if name not in theirs:
            lacking.append(name)
        else:
            lacking += [f"{name}={choice}" for choice in choices or () if choice not in (theirs[name] or [choice])]
    return sorted(lacking)


def needed(payload: Any) -> Taken:
    """The fields and values that are sent with this payload: all but those that have their defaults."""
    used: Taken = {}
    for field in fields(payload):
        value = getattr(payload, field.name)
        if value == default(field):
            continue
        used[f"{type(payload).__name__}.{field.name}"] = [value] if isinstance(value, str) else None
        for inner in value if isinstance(value, tuple) else (value,):
            if is_dataclass(inner):
                used |= needed(inner)
    return used


def without_defaults(payload: Any) -> dict[str, Any]:
    """A payload as a plain dict, without the fields that have their defaults: GPU functions from before a field was
    added do everything that does not need it."""
    sent: dict[str, Any] = {}
    for field in fields(payload):
        value = getattr(payload, field.name)
        if value != default(field):
            sent[field.name] = without_defaults(value) if is_dataclass(value) else to_wire(value)
    return sent


def default(field: Field[Any]) -> Any:
    """The value that a field has where none is sent; MISSING where it must be sent."""
    return field.default_factory() if field.default_factory is not MISSING else field.default


def read(answer: object) -> Taken | None:
    """Parses the answer of `describe`; None if it is malformed."""
    if not isinstance(answer, Mapping) or not answer:
        return None
    if not all(isinstance(name, str) and (value is None or isinstance(value, list)) for name, value in answer.items()):
        return None
    return dict(answer)
