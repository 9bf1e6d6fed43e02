"""`parity dev`: Machines run the working tree and restart when one of its source files changes.

The stand-in watches the files and restarts the Machines itself. A reloader inside the Machine was rejected: it would
work for one command and language only, and it would not end requests in flight as a normal stop does. Requests that
arrive during a restart wait at the gate, so the first answer after a change comes from the new code. If the new code
does not start, no Machine is left: the old one was stopped already, requests get 502, and the end of the log is
printed here and returned by ``GET /fly/dev``.
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

# A batch of changes ends when no file changed for this long, in milliseconds.
QUIET_MS = 40
# How often to check that a watched folder was not replaced by another one, as `git checkout` may do, in milliseconds.
LOOK_MS = 1000
# How often to look for a watched path that does not exist, in seconds.
ABSENT_S = 0.2
# How long a deploy of the GPU functions waits for restarting Machines, in seconds.
OPENING_S = 10.0
SHOWN_CHANGES = 10
SHOWN_LINES = 20


class NotDeclared(Exception):
    """``parity.toml`` does not say which files of the checkout belong to the app."""


async def _no_functions(_on: bool) -> str:
    """The default of ``Development.debug_functions``, for an app without GPU functions."""
    return ""


@dataclass(frozen=True)
class Sources:
    """The files and folders to watch.

    A change in ``machines`` restarts the Machines; a change in ``functions`` deploys the GPU functions again. Changes
    in the folders ``ignored`` have no effect.
    """

    root: Path
    machines: tuple[Path, ...]
    functions: tuple[Path, ...] = ()
    ignored: tuple[Path, ...] = ()
    poll: bool = False  # read the files at intervals instead of using the system's change notifications

    @classmethod
    def of(cls, project: Project, *, poll: bool) -> Sources:
        """The paths of ``[dev] mounts`` in ``parity.toml``; without them, the folder that the process driver runs."""
        parity, root = project.parity, project.settings.root
        machines = tuple(root / path for path in parity.dev.mounts)
        if not machines and project.settings.driver == "process":
            machines = (root / project.process.directory,)
        gpu = parity.gpu
        functions = tuple(root / path for path in (gpu.entry, *gpu.pythonpath)) if gpu else ()
        return cls(root, machines, functions, (project.settings.state_dir,), poll)

    def named(self, path: Path) -> str:
        """The path relative to the checkout, where it lies inside."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


@dataclass
class Development:
    """Turns development mode on and off, and restarts Machines while it is on.

    ``deploy_functions`` deploys the GPU functions again; ``debug_functions`` makes them listen for a debugger, or stops
    that. Both return "" or the reason of a failure. ``listen`` is the address that a debugger connects to.
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
        """Watch the files again after a restart of the stand-in, if its release is the working tree."""
        if self.on:
            self._watching = asyncio.create_task(self._watch())

    def __post_init__(self) -> None:
        self.relay = Relay(self._debugged)
        self.fleet.paused = lambda: self.relay.attached

    def _debugged(self) -> list[Address]:
        """The addresses at which Machines listen for a debugger."""
        found = (self.fleet.driver.debug_address(machine.id) for machine in self._machines())
        return [address for address in found if address is not None]

    async def switch(self, *, on: bool, timeout_s: float, debug: bool = False) -> None:
        """Replace the Machines by Machines that run the working tree (``on``) or the built image.

        Machines of the image must become healthy within ``timeout_s`` seconds. Machines of the working tree need not,
        because unfinished code may fail. Raises ``NotDeclared`` and what ``Fleet.deploy`` raises.
        """
        if on and not self.sources.machines:
            raise NotDeclared(
                "parity.toml does not say which folders are in the image; add those that the Dockerfile copies: "
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
                finally:  # after a failure, the release in force decides whether to watch
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
            while not all(path.exists() for path in watched):  # noqa: ASYNC110 - nothing reports a path that does not exist
                await asyncio.sleep(ABSENT_S)
            if (now := _identities(watched)) != known:
                known = now
                await self._take(watched)
            try:
                async for batch in self._batches(watched, poll=poll):
                    # Read before acting on the change, so that a replacement during the action is found next time.
                    now = _identities(watched)
                    if batch:
                        await self._take([Path(path) for _, path in batch])
                    if now != known:
                        known = now if batch else known
                        break
            except OSError as error:
                if poll:
                    raise
                _say(f"the system cannot report changes of files, so they are read every 0.3 s: {error}")
                poll = True

    def _batches(self, watched: Collection[Path], *, poll: bool) -> AsyncIterator[set[FileChange]]:
        """Yield batches of changes; an empty batch every ``LOOK_MS`` without a change."""
        return awatch(
            *watched,
            watch_filter=DefaultFilter(ignore_paths=self.sources.ignored),
            step=QUIET_MS,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            force_polling=poll or None,
        )

    async def _take(self, paths: Collection[Path]) -> None:
        """Restart Machines or deploy functions, according to which sources the paths belong to."""
        self.changed = tuple(sorted({self.sources.named(path) for path in paths}))[:SHOWN_CHANGES]
        self.reloads += 1
        if _touches(paths, self.sources.machines):
            await self._reload()
        if _touches(paths, self.sources.functions):
            self._stale = True
            if self._deploying is None or self._deploying.done():
                self._deploying = asyncio.create_task(self._deploy())

    async def _deploy(self) -> None:
        """Deploy the functions, again if they changed during the deploy.

        Restarting Machines come first: a deploy takes seconds and much of the CPU, and developers mostly look at a
        change of shared code through a Machine.
        """
        while self._stale:
            if self._opening is not None:
                await asyncio.wait({self._opening}, timeout=OPENING_S)
            self._stale = False
            self.functions_problem = await self.deploy_functions()
            _say(self.functions_problem or "the GPU functions are deployed again")

    async def _reload(self) -> None:
        began = time.monotonic()
        _say(f"{', '.join(self.changed)} changed: restarting the Machines")
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
        """Print how long the new code took to answer, or the log of Machines that did not start."""
        started = [m for m in machines if m.spec.serves and (m.state is not State.STOPPED or m.given_up)]
        await self.fleet.until(lambda: all(m.port is Port.OPEN or m.given_up for m in started))
        broken = [machine for machine in machines if machine.given_up]
        if broken:
            for line in await self._ends(broken):
                _say(line)
        elif started:
            self.seconds = round(time.monotonic() - began, 2)
            _say(f"the new code is ready after {self.seconds} s")

    def _machines(self) -> list[Machine]:
        return [*self.fleet.machines.values(), *self.fleet.workers.machines.values()]

    async def _ends(self, broken: Iterable[Machine]) -> list[str]:
        """The last log lines of Machines that did not start."""
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
    """Device and inode of each path; None for a path that does not exist."""
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
