"""Makes the stand-ins fail requests while a check is inside a ``with`` block."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from parity.checks.stack import Stack
from parity.checks.verdict import NotJudged


@dataclass
class FaultInForce:
    """A fault that was set. ``fired``: how many requests it hit; set when the block ends (``seen`` asks earlier)."""

    stack: Stack
    standin: str
    id: str
    what: str
    fired: int = 0

    async def seen(self) -> int:
        """How many requests the fault has hit so far."""
        answer = await self.stack.admin("GET", f"/{self.standin}/faults")
        found = answer["faults"] if isinstance(answer, dict) else answer
        return next((int(one["fired"]) for one in found if str(one["id"]) == self.id), self.fired)


@dataclass
class Faults:
    """Sets faults. A fault that hit no request tested nothing: then the check ends as "not judged".

    With ``must_fire=False`` a fault may hit no request.
    """

    stack: Stack

    def reach(self, owns: str) -> str:
        """The keys of a fault that is to meet all that a person's requests ask of R2; ``owns``: the person's prefix.

        Every key, unless other checks run beside this one: then the person's own, which are all that they ask for.
        """
        return f"*{owns}*" if self.stack.own is not None else "*"

    @asynccontextmanager
    async def on(
        self, key: str = "*", operation: str = "", *, times: int | None = None, must_fire: bool = True, **what: object
    ) -> AsyncIterator[FaultInForce]:
        """A fault of R2 for keys that match the shell pattern ``key``.

        ``operation`` is an S3 operation; empty for all but preflights. ``times`` is the number of requests to hit; None
        for all. ``what`` are fields of ``POST /r2/faults``: ``status``, ``code``, ``delay`` (seconds), ``drop``
        (``before`` or ``after``), ``cut`` (bytes), ``skew`` (seconds).
        """
        often: dict[str, object] = {"rate": 1} if times is None else {"count": times}
        body = {"key": key, "operation": operation, **often, **what}
        async with self._in_force("r2", body, must_fire) as fault:
            yield fault

    @asynccontextmanager
    async def modal(self, *, must_fire: bool = True, **what: object) -> AsyncIterator[FaultInForce]:
        """A fault of Modal. ``what`` are fields of ``POST /modal/faults``."""
        async with self._in_force("modal", what, must_fire) as fault:
            yield fault

    @asynccontextmanager
    async def _in_force(self, standin: str, body: dict[str, object], must_fire: bool) -> AsyncIterator[FaultInForce]:
        made = await self.stack.admin("POST", f"/{standin}/faults", body)
        shown = ", ".join(f"{name}={value}" for name, value in body.items() if value not in ("", None))
        fault = FaultInForce(self.stack, standin, str(made["id"]), shown)
        try:
            yield fault
        finally:
            fault.fired = await fault.seen()
            await self.stack.admin("DELETE", f"/{standin}/faults?id={fault.id}")
        if must_fire and not fault.fired:
            raise NotJudged(f"no request met the fault ({shown}), so nothing was tested")
