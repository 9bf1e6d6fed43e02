"""What every operation works with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from parity.r2.body import Body, Receive, receive_body, receive_xml
from parity.r2.content import BlobFolder
from parity.r2.cors import Policy
from parity.r2.errors import invalid_argument
from parity.r2.reply import Reply
from parity.r2.request import Request
from parity.r2.rules import Rulebook
from parity.r2.seen import Seen
from parity.r2.sigv4 import Authenticated
from parity.r2.store.interface import Store
from parity.r2.throttle import Throttle


@dataclass(frozen=True, slots=True)
class Context:
    """One request on its way. ``policies`` are the CORS policies by bucket, which the stand-in keeps itself; ``seen``
    is what the log will tell of it, ``throttle`` knows the writes on their way."""

    request: Request
    receive: Receive
    authenticated: Authenticated
    store: Store
    rules: Rulebook
    folder: BlobFolder
    policies: dict[str, Policy]
    seen: Seen
    throttle: Throttle

    async def body(self) -> Body:
        return await receive_body(self.receive, self.request, self.authenticated, self.rules, self.folder)

    async def xml_body(self) -> bytes:
        return await receive_xml(self.receive, self.request, self.authenticated, self.rules)

    def param(self, name: str) -> str:
        return self.request.params.get(name, "")

    def number(self, name: str, default: int) -> int:
        """A search parameter that is a count. Raises ``InvalidArgument``."""
        text = self.request.params.get(name)
        if text is None or text == "":
            return default
        if not (text.isascii() and text.isdecimal()) or len(text) > 10:
            raise invalid_argument(f"Provided {name} not an integer or within integer range")
        return int(text)


Handler = Callable[[Context], Awaitable[Reply]]
