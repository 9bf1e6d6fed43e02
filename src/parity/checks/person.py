"""A person who uses the app through the contract; checks call these methods instead of routes."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace

import httpx

from parity.checks.verdict import NotDeclared
from parity.contract import Api, Elsewhere, FullContract, InBucket, Refused

# ``await people()`` returns one more person who has signed in. Raises ``Refused``.
People = Callable[[], Awaitable["Person"]]


@dataclass(frozen=True)
class Attempt:
    """A write. ``answer`` is the text of the refusal where the app did not acknowledge it."""

    text: str
    acknowledged: bool
    answer: str


def missing(writes: Collection[Attempt], shown: Collection[str] | str) -> list[str]:
    """The texts of acknowledged writes that are not in ``shown``, the result of ``Person.reads``.

    A refused read (``shown`` is a text) shows nothing, so all acknowledged writes are missing.
    """
    seen = () if isinstance(shown, str) else shown
    return [one.text for one in writes if one.acknowledged and one.text not in seen]


@dataclass(frozen=True)
class Person:
    """A person. ``app`` is their instance of the contract.

    ``owns`` is the prefix of their data in the bucket, empty where data lives elsewhere. ``new_client`` returns an HTTP
    client with no cookies, as a new browser.
    """

    app: FullContract
    owns: str
    new_client: Callable[[], httpx.AsyncClient]

    @classmethod
    async def of(cls, app: FullContract, new_client: Callable[[], httpx.AsyncClient]) -> Person:
        """The person of this contract instance, which must have signed in."""
        if hasattr(app, "owns"):
            owns = await app.owns()
        else:
            owns = app.keeps.prefix if isinstance(app.keeps, InBucket) else ""
        return cls(app, owns, new_client)

    @property
    def api(self) -> Api:
        return self.app.api

    @property
    def keeps(self) -> InBucket | Elsewhere:
        """Where the app stores what people write, by the contract."""
        return self.app.keeps

    def needs(self, *methods: str) -> None:
        """End the check as "not declared" where the contract lacks one of these methods. Raises ``NotDeclared``."""
        absent = [name for name in methods if not hasattr(self.app, name)]
        if absent:
            raise NotDeclared(f"the contract does not have: {', '.join(absent)}")

    def can(self, method: str) -> bool:
        """Whether the contract has this optional method."""
        return hasattr(self.app, method)

    def on(self, machine: str | None) -> Person:
        """The same person in the same browser, pinned to that Machine; None: the edge chooses the Machine."""
        app = copy.copy(self.app)
        app.api = replace(self.api, machine=machine)
        return replace(self, app=app)

    async def comes_back(self, machine: str | None) -> Person:
        """The same person in a new browser, by the contract's ``cold_person``. Raises ``Refused``.

        Where the contract lacks it, the person keeps their browser.
        """
        if not self.can("cold_person"):
            return self.on(machine)
        app = type(self.app)(replace(self.api, http=self.new_client(), machine=machine, headers={}))
        await app.cold_person()
        return replace(self, app=app)

    def another(self) -> Person:
        """Another person with a new browser, who has not signed in, so ``owns`` is not known."""
        app = type(self.app)(Api(self.new_client(), self.api.origin, machine=self.api.machine, stubs=self.api.stubs))
        return Person(app, "", self.new_client)

    async def leaves(self) -> None:
        """Delete the person's data as far as the contract can: with ``leave``, else ``delete``. Raises ``Refused``."""
        if self.can("leave"):
            await self.app.leave()
        elif self.can("delete"):
            for text in await self.app.read():
                await self.app.delete(text)

    async def write(self) -> str:
        """Write a new, unique text, and return it once it is acknowledged. Raises ``Refused``."""
        text = f"w{secrets.token_hex(5)}"
        await self.app.write(text)
        return text

    async def attempt(self) -> Attempt:
        """Write a new, unique text. A refusal is returned, not raised."""
        text = f"w{secrets.token_hex(5)}"
        try:
            await self.app.write(text)
        except Refused as refused:
            return Attempt(text, False, str(refused))
        return Attempt(text, True, "acknowledged")

    async def read(self) -> Collection[str]:
        """Every text that the app shows to the person. Raises ``Refused``."""
        return await self.app.read()

    async def reads(self) -> Collection[str] | str:
        """Every text that the app shows to the person; the text of the refusal where it refuses the read."""
        try:
            return await self.app.read()
        except Refused as refused:
            return str(refused)
