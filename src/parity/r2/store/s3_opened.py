"""An object of an upstream that is being read."""

from __future__ import annotations

import re
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from parity.r2.errors import upstream_failed
from parity.r2.pieces import BLOCK
from parity.r2.store.interface import ObjectInfo

_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{1,18})?|-0*[1-9]\d{0,17})", re.ASCII)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)", re.ASCII)
Run = Callable[[str, Callable[[], Any]], Awaitable[Any]]


def passed_on(wanted: str | None) -> dict[str, str]:
    """The range for the upstream's GET, where it has a form that every S3 understands; answers to other forms
    differ."""
    found = _RANGE.fullmatch((wanted or "").strip())
    if found is None or (found[2] and int(found[2]) < int(found[1])):
        return {}
    return {"Range": found[0]}


class Opened:
    """An answered GET: ``info`` and the bytes of ``read`` are of the same version. Closed with its last reference."""

    def __init__(self, info: ObjectInfo, answer: dict[str, Any], run: Run) -> None:
        self._body, self._run = answer["Body"], run
        self._first, total = _first_and_total(answer.get("ContentRange"), info.size)
        self.info = replace(info, size=total)
        weakref.finalize(self, self._body.close).atexit = False

    async def read(self, start: int, length: int) -> AsyncIterator[bytes]:
        """May be called once, for a range that begins within the range of the GET."""
        if not length:
            return
        skip = start - self._first
        if skip < 0:
            raise upstream_failed(f"get_object: bytes from {self._first} on, not from {start}")
        while skip or length:
            # An upstream without ranges returns the whole object.
            block = await self._run("get_object", partial(self._body.read, min(BLOCK, skip or length)))
            if not block:
                raise upstream_failed(f"get_object: {skip + length} bytes less than it told")
            if skip:
                skip -= len(block)
            else:
                length -= len(block)
                yield block


def _first_and_total(content_range: str | None, size: int) -> tuple[int, int]:
    if content_range is None:
        return 0, size
    found = _CONTENT_RANGE.fullmatch(content_range)
    if found is None:
        raise upstream_failed(f"get_object: Content-Range is {content_range!r}")
    return int(found[1]), int(found[2])
