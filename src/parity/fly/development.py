"""`parity dev`: Machines run the working tree, and start anew when a source of theirs changes.

The tree is watched here, where Machines are stopped and started, and not by a reloader inside the Machine: so it works
for every command and language, and what is in flight ends as in any stop. Requests that arrive meanwhile wait at the
gate, so the first answer after a change is that of the new code. Code that does not start leaves no Machine behind: the
last good one is gone, requests get 502, and the end of its log is shown here and by ``GET /fly/dev``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from watchfiles import DefaultFilter, awatch
from watchfiles.main import FileChange

from parity.config.project import Project
from parity.debug.relay import Relay
from parity.fly.fleet import Fleet
from parity.fly.machines.driver import Address
from parity.fly.machines.machine import Machine
from parity.fly.machines.port import Port
from parity.fly.machines.state import State

# How long files must be quiet before a change counts, and between two looks at whether a watched folder is still the
# same one (a checkout of another branch makes it anew), in milliseconds.
QUIET_MS = 40
LOOK_MS = 1000
# Between two looks for a folder that is gone, in seconds.
ABSENT_S = 0.2
# How long a deploy of the functions waits for Machines that start, in seconds.
OPENING_S = 10.0
SHOWN_CHANGES = 10
SHOWN_LINES = 20


class NotDeclared(Exception):
    """Nothing says which files of the checkout are the app's."""


async def _no_functions(_on: bool) -> str:
    """For an app without GPU functions."""
    return ""


@dataclass(frozen=True)
class Sources:
    """Files and folders whose change matters; ``ignored`` are folders in them that hold no source.

    Those of ``machines`` start Machines anew, those of ``functions`` deploy the GPU functions again.
    """

    root: Path
    machines: tuple[Path, ...]
    functions: tuple[Path, ...] = ()
    ignored: tuple[Path, ...] = ()
    poll: bool = False  # look at the files instead of waiting for the system's notices

    @classmethod
    def of(cls, project: Project, *, poll: bool) -> Sources:
        """Those that ``parity.toml`` declares: ``[dev] mounts``, else what a Machine without Docker runs."""
        parity, root = project.parity, project.settings.root
        machines = tuple(root / path for path in parity.dev.mounts)
        if not machines and project.settings.driver == "process":
            machines = (root / project.process.directory,)
        gpu = parity.gpu
        functions = tuple(root / path for path in (gpu.entry, *gpu.pythonpath)) if gpu else ()
        return cls(root, machines, functions, (project.settings.state_dir,), poll)

    def named(self, path: Path) -> str:
        """As a developer calls it."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


@dataclass
class Development:
    """On or off. ``deploy_functions`` lets the GPU functions be deployed again, ``debug_functions`` lets them listen
    for a debugger or no more; each returns why that failed, or "". ``listen`` is where a Machine's debugger connects.
    """

    fleet: Fleet
    sources: Sources
    deploy_functions: Callable[[], Awaitable[str]]
    debug_functions: Callable[[bool], Awaitable[str]] = _no_functions
    listen: Address = ("127.0.0.1", 0)
    reloads: int = 0
    changed: tuple[str, ...] = ()
    seconds: float | None = None  # from the last change to an open port
    problem: str = ""
    functions_problem: str = ""
    _watching: asyncio.Task[None] | None = None
    _opening: asyncio.Task[None] | None = None
    _deploying: asyncio.Task[None] | None = None
    _stale: bool = False  # functions were changed since their last deploy began
    _switching: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def on(self) -> bool:
        return self.fleet.dev

    async def resume(self) -> None:
        """Watch again, where a stand-in that was restarted goes on with the working tree."""
        if self.on:
            self._watching = asyncio.create_task(self._watch())

    def __post_init__(self) -> None:
        self.relay = Relay(self._debugged)
        self.fleet.paused = lambda: self.relay.attached

    def _debugged(self) -> list[Address]:
        """Where Machines listen for a debugger."""
        found = (self.fleet.driver.debug_address(machine.id) for machine in self._machines())
        return [address for address in found if address is not None]

    async def switch(self, *, on: bool, timeout_s: float, debug: bool = False) -> None:
        """Replace the Machines by ones of the working tree, or by ones of the exact image.

        The image's must be healthy within ``timeout_s``; code that is being worked on need not. Raises
        ``NotDeclared`` and what ``Fleet.deploy`` raises.
        """
        if on and not self.sources.machines:
            raise NotDeclared(
                "parity.toml does not say which folders the image holds: add what the Dockerfile copies, such as "
                '[dev] mounts = { "src/app" = "/app/app" }'
            )
        async with self._switching:
            if (on, debug) != (self.on, self.fleet.debug):
                await self._end_watch()
                await self._switch_debug(on=debug)
                self.reloads, self.changed, self.seconds, self.problem = 0, (), None, ""
                # The tree is watched from before the Machines start: no edit in between is missed.
                self._watching = asyncio.create_task(self._watch()) if on else None
                try:
                    await self.fleet.develop(on=on, timeout_s=timeout_s, debug=debug)
                finally:  # after a failure, whatever release is in force decides
                    if not self.on:
                        await self._end_watch()
                    elif self._watching is None:
                        self._watching = asyncio.create_task(self._watch())

    async def _switch_debug(self, *, on: bool) -> None:
        if on:
            await self.relay.open(*self.listen)
        else:
            await self.relay.close()
        if on != self.fleet.debug:
            self.functions_problem = await self.debug_functions(on)

    async def close(self) -> None:
        await self._end_watch()
        await self.relay.close()

    async def _end_watch(self) -> None:
        tasks = [task for task in (self._watching, self._opening, self._deploying) if task is not None]
        self._watching = self._opening = self._deploying = None
        self._stale = False
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # watching

    async def _watch(self) -> None:
        watched = tuple(dict.fromkeys((*self.sources.machines, *self.sources.functions)))
        poll, known = self.sources.poll, _identities(watched)
        while True:
            while not all(path.exists() for path in watched):  # noqa: ASYNC110 - nothing tells of a path that is absent
                await asyncio.sleep(ABSENT_S)
            if (now := _identities(watched)) != known:
                known = now
                await self._take(watched)
            try:
                async for batch in self._batches(watched, poll=poll):
                    # Looked at before the change is acted on: what is replaced meanwhile is found the next time.
                    now = _identities(watched)
                    if batch:
                        await self._take([Path(path) for _, path in batch])
                    if now != known:
                        known = now if batch else known
                        break
            except OSError as error:
                if poll:
                    raise
                _say(f"files are looked at every 0.3 s, as the system does not tell of changes: {error}")
                poll = True

    def _batches(self, watched: Collection[Path], *, poll: bool) -> AsyncIterator[set[FileChange]]:
        """Changes as they come; an empty set now and then."""
        return awatch(
            *watched,
            watch_filter=DefaultFilter(ignore_paths=self.sources.ignored),
            step=QUIET_MS,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            force_polling=poll or None,
        )

    async def _take(self, paths: Collection[Path]) -> None:
        """Act on changes."""
        self.changed = tuple(sorted({self.sources.named(path) for path in paths}))[:SHOWN_CHANGES]
        self.reloads += 1
        if _touches(paths, self.sources.machines):
            await self._reload()
        if _touches(paths, self.sources.functions):
            self._stale = True
            if self._deploying is None or self._deploying.done():
                self._deploying = asyncio.create_task(self._deploy())

    async def _deploy(self) -> None:
        """Deploy the functions until no change is left that came meanwhile. Machines go first: a deploy takes seconds
        and much of the processor, and most changes of code that both share are looked at through a Machine."""
        while self._stale:
            if self._opening is not None:
                await asyncio.wait({self._opening}, timeout=OPENING_S)
            self._stale = False
            self.functions_problem = await self.deploy_functions()
            _say(self.functions_problem or "the GPU functions are deployed again")

    async def _reload(self) -> None:
        began = time.monotonic()
        _say(f"{', '.join(self.changed)} changed: Machines start anew")
        machines = [machine for machine in self._machines() if machine.spec.image.dev]
        for address in self._debugged():
            self.relay.let_go(address)
        results = await asyncio.gather(*(machine.reload() for machine in machines), return_exceptions=True)
        self.problem = "; ".join(str(error) for error in results if isinstance(error, Exception))
        if self.problem:
            _say(self.problem)
        if self._opening:
            self._opening.cancel()
        self._opening = asyncio.create_task(self._tell(machines, began))

    async def _tell(self, machines: list[Machine], began: float) -> None:
        """Say when the new code is reached, or why it is not."""
        started = [m for m in machines if m.spec.serves and (m.state is not State.STOPPED or m.given_up)]
        await self.fleet.until(lambda: all(m.port is Port.OPEN or m.given_up for m in started))
        broken = [machine for machine in machines if machine.given_up]
        if broken:
            for line in await self._ends(broken):
                _say(line)
        elif started:
            self.seconds = round(time.monotonic() - began, 2)
            _say(f"the new code answers after {self.seconds} s")

    def _machines(self) -> list[Machine]:
        return [*self.fleet.machines.values(), *self.fleet.workers.machines.values()]

    async def _ends(self, broken: Iterable[Machine]) -> list[str]:
        """The last lines of Machines that do not start."""
        lines = []
        for machine in broken:
            lines.append(
                f"Machine {machine.id} does not start; requests get 502 until the next change. Its last lines:"
            )
            lines += await self.fleet.driver.logs(machine.id, SHOWN_LINES)
        return lines

    async def as_json(self) -> dict[str, object]:
        """``GET /fly/dev``."""
        if not self.on:
            return {"on": False}
        broken = [machine for machine in self._machines() if machine.spec.image.dev and machine.given_up]
        return {
            "on": True,
            "sources": [self.sources.named(path) for path in self.sources.machines],
            "functions": [self.sources.named(path) for path in self.sources.functions],
            "debug": self.fleet.debug,
            "attached": self.relay.attached,
            "reloads": self.reloads,
            "changed": self.changed,
            "seconds": self.seconds,
            "problem": "\n".join([*filter(None, [self.problem]), *await self._ends(broken)]),
            "functions_problem": self.functions_problem,
        }


def _identities(paths: Iterable[Path]) -> Mapping[Path, tuple[int, int] | None]:
    """Which file or folder stands under each path now."""
    found: dict[Path, tuple[int, int] | None] = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            found[path] = None
        else:
            found[path] = (status.st_dev, status.st_ino)
    return found


def _touches(paths: Collection[Path], sources: Collection[Path]) -> bool:
    return any(path.is_relative_to(source) for path in paths for source in sources)


def _say(text: str) -> None:
    sys.stdout.write(f"dev: {text}\n")
    sys.stdout.flush()
