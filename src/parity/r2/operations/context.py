"""The inputs that every operation has."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from parity.r2.body import Body, Receive, receive_body, receive_xml
from parity.r2.configuration import Configurations
from parity.r2.content import BlobFolder
from parity.r2.errors import invalid_argument
from parity.r2.locks import guarded
from parity.r2.reply import Reply
from parity.r2.request import Request, normalized
from parity.r2.rules import Rulebook
from parity.r2.seen import Seen
from parity.r2.sigv4 import Authenticated
from parity.r2.store.interface import Check, Store
from parity.r2.throttle import Throttle

KEPT_UPLOADS = 10_000


class EndedUploads:
    """The last uploads that were aborted or completed, by bucket, key and id. R2 lets a client abort them again."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, str, str], None] = {}

    def __contains__(self, place: tuple[str, str, str]) -> bool:
        return place in self._places

    def add(self, place: tuple[str, str, str]) -> None:
        self._places[place] = None
        if len(self._places) > KEPT_UPLOADS:
            del self._places[next(iter(self._places))]


@dataclass(frozen=True, slots=True)
class Context:
    """One request in progress. ``configured`` holds the configuration of the buckets, ``seen`` is the request's log
    entry, ``throttle`` knows the writes in progress, ``ended`` the uploads that were aborted or completed."""

    request: Request
    receive: Receive
    authenticated: Authenticated
    store: Store
    rules: Rulebook
    folder: BlobFolder
    configured: Configurations
    seen: Seen
    throttle: Throttle
    ended: EndedUploads

    async def body(self) -> Body:
        return await receive_body(self.receive, self.request, self.authenticated, self.rules, self.folder)

    async def xml_body(self, *, checksums: bool = True) -> bytes:
        return await receive_xml(self.receive, self.request, self.authenticated, self.rules, checksums=checksums)

    def param(self, name: str) -> str:
        return self.request.params.get(name, "")

    def kept(self, key: str) -> str:
        """``key`` in the normalized form under which R2 stores it (rule 35)."""
        return normalized(key, self.rules)

    def guarded(self, check: Check) -> Check:
        """``check`` of a write to the request's bucket, plus a check that the object is not locked. Also raises rule
        48."""
        return guarded(check, self.configured.locks.get(self.request.bucket, ()), time.time(), self.rules)

    def number(self, name: str, default: int) -> int:
        """A search parameter that is a count. Raises ``InvalidArgument``."""
        text = self.request.params.get(name)
        if text is None or text == "":
            return default
        if not (text.isascii() and text.isdecimal()) or len(text) > 10:
            raise invalid_argument(f"Provided {name} not an integer or within integer range")
        return int(text)


Handler = Callable[[Context], Awaitable[Reply]]
