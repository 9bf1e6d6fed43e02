"""What was listed or fetched, held against what it must be; anything else is ``Damaged``, with the object's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.replication.layout import EMPTIED, FileRef, GapError, transaction
from app.replication.ltx import LtxError, LtxFile, decode
from app.replication.outcomes import Damaged


def planned(make: Callable[..., list[FileRef]], *arguments: Any) -> list[FileRef]:
    """The plan that ``make`` makes of a list. Raises ``Damaged`` where files are missing in between."""
    try:
        return make(*arguments)
    except GapError as error:
        raise Damaged(transaction(error.txid).name, str(error)) from error


def decoded(ref: FileRef, data: bytes, *, with_index: bool = True) -> LtxFile:
    """The file, which must be whole and hold the TXIDs that its name says. Raises ``Damaged``, naming it."""
    if data == EMPTIED:
        raise Damaged(ref.name, "was emptied when the profile was deleted")
    try:
        file = decode(data, with_index=with_index)
    except LtxError as error:
        raise Damaged(ref.name, str(error)) from error
    if (file.header.min_txid, file.header.max_txid) != (ref.min_txid, ref.max_txid):
        raise Damaged(ref.name, f"holds TXIDs {file.header.min_txid:x} to {file.header.max_txid:x}")
    return file
