"""The Machines of the stack, through the admin API of the stand-in for Fly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from parity.checks import patience
from parity.checks.stack import Stack, StackError
from parity.checks.verdict import NotJudged
from parity.contract import PINNED
from parity.stack.unwell import cause

# Fly allows a kill_timeout of up to 300 s, but the Machines that checks stop end sooner than this.
STOP_TIMEOUT_S = 150.0
OPEN_WITHIN_S = 150.0
ROUTED_WITHIN_S = 60.0
LOOK_S = 0.1
LAST_LINES = 3
# Why the edge sends nothing to a Machine, by its id. Checks that come later do not wait for such a Machine again.
_REFUSED: dict[str, str] = {}


def is_refused(machine: Mapping[str, Any]) -> bool:
    """Whether a health check of this Machine (of the admin API) fails, so that the edge sends it no requests."""
    return any(one["status"] == "critical" for one in machine.get("checks", ()))


def unwanted_end(events: Iterable[Mapping[str, Any]], since: float = 0.0) -> str:
    """Why a process of a Machine ended by itself since then (Unix seconds), from the Machine's events; "" if none did.

    The event ``oom`` is of a child process that was killed for memory, while the Machine's own process goes on.
    """
    for event in events:
        if event["time"] < since:
            continue
        if event["type"] == "oom" or event.get("oom_killed"):
            return "a process of it was killed for memory"
        if event.get("crashed"):
            return f"it ended by itself with exit code {event.get('exit_code')}"
    return ""


@dataclass
class Machines:
    """Starts, stops and lists Machines, by the ids of the admin API. All methods raise ``StackError``.

    A check with ``apart`` sees and replaces only the Machines that it created itself.
    """

    stack: Stack

    async def all(self) -> list[dict[str, Any]]:
        """Every Machine as the admin API shows it: ``id``, ``state``, ``port``, ``healthy``, ``events``, ``config``."""
        found: list[dict[str, Any]] = await self.stack.admin("GET", "/fly/machines")
        return [one for one in found if self.stack.own is None or one["id"] in self.stack.own]

    async def get(self, machine: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.stack.admin("GET", f"/fly/machines/{machine}")
        return found

    async def first(self) -> str:
        """The id of the first Machine, to which people are pinned. It is started if needed, and its port is open."""
        found = await self.all()
        machine = found[0] if found else await self._one_more(pooled=self.stack.own is None)
        if machine["state"] not in ("started", "starting"):
            await self.stack.admin("POST", f"/fly/machines/{machine['id']}/start")
        return await self._routed(await self.open(machine["id"]))

    async def serving(self) -> str:
        """As ``first``, for a check that is about something else than the health check. Raises ``NotJudged``.

        The edge answers 503 while a health check fails, and a check would take that for a refusal of the app.
        """
        machine = await self.first()
        if is_refused(seen := await self.get(machine)):
            if machine not in _REFUSED:
                health = self.stack.site.health
                _REFUSED[machine] = (
                    f"the edge sends no request to Machine {machine}, because its health check {health} fails:"
                    f" {cause(seen) or 'it is critical'}. Its last log lines: {await self._last_lines(machine)}"
                )
            raise NotJudged(_REFUSED[machine])
        return machine

    async def _one_more(self, *, pooled: bool) -> dict[str, Any]:
        """Create a Machine. If it is not ``pooled``, only the check stops it, and requests of other checks, which run
        at the same time, do not go there."""
        made: dict[str, Any] = await self.stack.admin("POST", "/fly/machines", {"pooled": pooled})
        if self.stack.own is not None:
            self.stack.own.append(made["id"])
        return made

    async def _routed(self, machine: str) -> str:
        """Wait until no health check of the Machine fails, at most ``ROUTED_WITHIN_S`` seconds, and return its id.

        One that still fails is left to the caller: a check may be about just that.

        The edge sends a Machine no requests while a health check fails. On a busy host a probe may miss its timeout
        once, and the check then counts as failed until the next probe.
        """
        deadline = patience.Deadline(0 if machine in _REFUSED else ROUTED_WITHIN_S)
        while is_refused(await self.get(machine)):
            if deadline.passed:
                return machine
            await asyncio.sleep(LOOK_S)
        _REFUSED.pop(machine, None)
        return machine

    async def open(self, machine: str, within_s: float = OPEN_WITHIN_S) -> str:
        """Wait until the edge has seen the Machine's port open, and return its id. Raises ``StackError`` otherwise."""
        deadline, started = patience.Deadline(within_s), False
        while not deadline.passed:
            seen = await self.get(machine)
            if seen["port"] == "open":
                return machine
            if seen["state"] in ("stopped", "suspended") and not started:  # the edge stopped it as idle or superfluous
                started = True
                await self.stack.admin("POST", f"/fly/machines/{machine}/start")
            if seen["port"] == "closed":  # the edge has given up, and tries again only for a request
                await self.stack.http.get(self.stack.site.health or "/", headers={PINNED: machine})
            await asyncio.sleep(LOOK_S)
        raise StackError(
            f"Machine {machine} does not open its port within {within_s:g} s; its state is {seen['state']}"
            f"{': ' if (why := cause(seen)) else ''}{why}. Its last log lines:"
            f" {await self._last_lines(machine)}"
        )

    async def _last_lines(self, machine: str) -> str:
        lines = [line.strip() for line in await self.logs(machine) if line.strip()]
        return " | ".join(lines[-LAST_LINES:]) or "none"

    @asynccontextmanager
    async def one_more(self) -> AsyncIterator[str]:
        """One more Machine of the current release with an empty disk, its port open; destroyed afterwards.

        As with ``first``, a health check that failed once on a busy host is waited for.
        """
        async with self.booting() as machine:
            yield await self._routed(await self.open(machine))

    @asynccontextmanager
    async def booting(self) -> AsyncIterator[str]:
        """As ``one_more``, but yields as soon as the process has started: its port may open later or never."""
        made = str((await self._one_more(pooled=False))["id"])
        try:
            yield made
        finally:
            await asyncio.shield(self.destroy(made))

    async def destroy(self, machine: str) -> None:
        """Stop the Machine and remove it with its disk. Its log is kept for the evidence."""
        await self._keep_log(machine)
        await self.stack.admin("POST", f"/fly/machines/{machine}/destroy", timeout_s=STOP_TIMEOUT_S)
        if self.stack.own is not None:
            self.stack.own.remove(machine)

    async def destroy_all(self) -> None:
        """Destroy every Machine; for a check with ``apart``, every Machine that it created."""
        for machine in await self.all():
            await self.destroy(machine["id"])

    async def replace_all(self) -> str:
        """Destroy all Machines and start one with an empty disk. Returns its id."""
        await self.destroy_all()
        return await self.first()

    async def start(self, machine: str) -> str:
        """Start or resume the Machine, wait until its port is open, and return its id."""
        await self.stack.admin("POST", f"/fly/machines/{machine}/start")
        return await self.open(machine)

    async def stop(self, machine: str) -> list[str]:
        """Stop the Machine as Fly does: kill_signal, then SIGKILL after kill_timeout. Returns the signals sent."""
        since = time.time()
        await self.stack.admin("POST", f"/fly/machines/{machine}/stop", timeout_s=STOP_TIMEOUT_S)
        events = (await self.get(machine))["events"]
        return [event["signal"] for event in events if event["type"] == "signal" and event["time"] >= since]

    async def killed(self, since: float) -> dict[str, str]:
        """Why processes ended by themselves since then (Unix seconds), by Machine, those of all process groups."""
        found = [*await self.all(), *await self.stack.admin("GET", "/fly/groups")]
        return {one["id"]: why for one in found if (why := unwanted_end(one["events"], since))}

    async def restart_workers(self) -> int:
        """Stop and start each Machine of a process group that serves no HTTP. Returns their number."""
        found = await self.stack.admin("GET", "/fly/groups")
        for worker in found:
            await self.stop(worker["id"])
            await self.stack.admin("POST", f"/fly/machines/{worker['id']}/start")
        return len(found)

    async def start_workers(self) -> None:
        """Start each Machine of a process group that serves no HTTP and does not run."""
        for worker in await self.stack.admin("GET", "/fly/groups"):
            if worker["state"] not in ("started", "starting"):
                await self.stack.admin("POST", f"/fly/machines/{worker['id']}/start")

    async def kill(self, machine: str) -> None:
        """Kill the Machine at once (SIGKILL), so that it can finish nothing."""
        await self.stack.admin("POST", f"/fly/machines/{machine}/kill")

    async def suspend(self, machine: str) -> None:
        """Suspend (freeze) the Machine, as ``auto_stop_machines = "suspend"`` does."""
        await self.stack.admin("POST", f"/fly/machines/{machine}/suspend")

    async def logs(self, machine: str) -> list[str]:
        lines: list[str] = (await self.stack.admin("GET", f"/fly/machines/{machine}/logs"))["lines"]
        return lines

    async def _keep_log(self, machine: str) -> None:
        try:
            self.stack.logs[machine] = await self.logs(machine)
        except StackError as error:
            self.stack.logs[machine] = [f"(the log could not be read: {error})"]
