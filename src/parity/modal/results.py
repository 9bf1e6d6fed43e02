"""Results of functions, as another release of the GPU code would give them: the fault ``result``. Pure."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from typing import Any

import cbor2
from modal_proto import api_pb2 as pb

# In place of a field's name: every field that the result has.
EVERY = "*"


class _PlainUnpickler(pickle.Unpickler):
    """Reads built-in values only: nothing of the app is imported into the control plane."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain value")


def fields_of(result: pb.GenericResult, data_format: int) -> dict[str, Any] | None:
    """The result's fields where it is a dict of plain values that lies in the message itself; else None."""
    if result.status != pb.GenericResult.GENERIC_STATUS_SUCCESS or not result.data:
        return None
    try:
        if data_format == pb.DATA_FORMAT_PICKLE:
            found = _PlainUnpickler(io.BytesIO(result.data)).load()
        elif data_format == pb.DATA_FORMAT_CBOR:
            found = cbor2.loads(result.data)
        else:
            return None
    except (pickle.UnpicklingError, cbor2.CBORDecodeError, EOFError, ValueError, AttributeError, ImportError):
        return None
    return found if isinstance(found, dict) else None


def with_fields(
    result: pb.GenericResult, data_format: int, fields: dict[str, Any], changes: Mapping[str, Any]
) -> pb.GenericResult:
    """The result with ``changes``: a value adds or replaces a field, None removes it (``EVERY``: all of them)."""
    kept = {} if changes.get(EVERY, ...) is None else dict(fields)
    for name, value in changes.items():
        if name == EVERY:
            continue
        if value is None:
            kept.pop(name, None)
        else:
            kept[name] = value
    changed = pb.GenericResult()
    changed.CopyFrom(result)
    changed.data = cbor2.dumps(kept) if data_format == pb.DATA_FORMAT_CBOR else pickle.dumps(kept, protocol=4)
    return changed
