"""A person who uses the app, as the contract describes it."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace

import httpx

from parity.checks.verdict import NotDeclared
from parity.contract import Api, Elsewhere, FullContract, InBucket, Refused

# Gives one more person who has signed in. Raises ``Refused``.
People = Callable[[], Awaitable["Person"]]


@dataclass(frozen=True)
class Attempt:
    """A write, acknowledged or not; ``answer`` is the refusal's text."""

    text: str
    acknowledged: bool
    answer: str


def missing(writes: Collection[Attempt], shown: Collection[str] | str) -> list[str]:
    """The acknowledged texts that are not shown. ``shown`` as ``Person.reads`` gives it: a refusal shows nothing."""
    seen = () if isinstance(shown, str) else shown
    return [one.text for one in writes if one.acknowledged and one.text not in seen]


@dataclass(frozen=True)
class Person:
    """``app`` is the contract's instance. ``owns`` is the prefix in the bucket below which this person's data lies,
    empty where it lies elsewhere. ``new_client`` gives another browser."""

    app: FullContract
    owns: str
    new_client: Callable[[], httpx.AsyncClient]

    @classmethod
    async def of(cls, app: FullContract, new_client: Callable[[], httpx.AsyncClient]) -> Person:
        """Once ``app`` has signed in."""
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
        """Where the app says that it keeps what people write."""
        return self.app.keeps

    def needs(self, *methods: str) -> None:
        """End the check as "not declared" where the contract has not all of these methods. Raises ``NotDeclared``."""
        absent = [name for name in methods if not hasattr(self.app, name)]
        if absent:
            raise NotDeclared(f"the contract does not say: {', '.join(absent)}")

    def can(self, method: str) -> bool:
        """Whether the contract has this optional method."""
        return hasattr(self.app, method)

    def on(self, machine: str | None) -> Person:
        """The same person in the same browser, served by that Machine; None: by any."""
        app = copy.copy(self.app)
        app.api = replace(self.api, machine=machine)
        return replace(self, app=app)

    async def comes_back(self, machine: str | None) -> Person:
        """The same person in a new browser, as ``cold_person`` of the contract has it. Raises ``Refused``."""
        if not self.can("cold_person"):
            return self.on(machine)
        app = type(self.app)(replace(self.api, http=self.new_client(), machine=machine, headers={}))
        await app.cold_person()
        return replace(self, app=app)

    def another(self) -> Person:
        """Another person with another browser, who has not signed in. ``owns`` is unknown."""
        app = type(self.app)(Api(self.new_client(), self.api.origin, machine=self.api.machine))
        return Person(app, "", self.new_client)

    async def leaves(self) -> None:
        """Leave as little behind as the contract can delete. Raises ``Refused``."""
        if self.can("leave"):
            await self.app.leave()
        elif self.can("delete"):
            for text in await self.app.read():
                await self.app.delete(text)

    async def write(self) -> str:
        """A new text, acknowledged. Raises ``Refused``."""
        text = f"w{secrets.token_hex(5)}"
        await self.app.write(text)
        return text

    async def attempt(self) -> Attempt:
        """A write that may be refused."""
        text = f"w{secrets.token_hex(5)}"
        try:
            await self.app.write(text)
        except Refused as refused:
            return Attempt(text, False, str(refused))
        return Attempt(text, True, "acknowledged")

    async def read(self) -> Collection[str]:
        """Every text that is shown. Raises ``Refused``."""
        return await self.app.read()

    async def reads(self) -> Collection[str] | str:
        """Every text that is shown; the refusal's text where the read is refused."""
        try:
            return await self.app.read()
        except Refused as refused:
            return str(refused)
