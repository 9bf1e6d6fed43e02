"""All Machines of the app: creates and destroys them, deploys releases, and stops Machines that are not needed.

``gate`` holds the requests; ``rollout`` has the deploy strategies; ``groups`` has the Machines that serve no HTTP.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from parity.config.fly_toml import FlyConfig
from parity.fly import owned_file
from parity.fly.gate import AppGate, phase_of
from parity.fly.groups import Workers
from parity.fly.machines.cpu import CpuMode
from parity.fly.machines.driver import Address, Driver, DriverError, Image
from parity.fly.machines.image_log import ImageLog
from parity.fly.machines.machine import Machine, Surroundings
from parity.fly.machines.port import Port
from parity.fly.machines.release import Release, ReleaseFailed, ReleaseStatus
from parity.fly.machines.state import State, WrongState
from parity.fly.once import OneOffs
from parity.fly.rollout import roll_out
from parity.fly.routing import Phase, Use, excess
from parity.fly.settings import FlySettings
from parity.fly.specs import Specs

# Runs a command to its end in a Machine's environment; returns the exit code and the last lines of output.
RunOnce = Callable[[Sequence[str]], Awaitable[tuple[int, list[str]]]]


async def _nothing(_run_once: RunOnce) -> None:
    """The default of ``FleetParts.prepare``: nothing to do before the first Machine starts."""


@dataclass
class FleetParts:
    """What a fleet needs.

    - ``local``, ``check_local``: the addresses that the edge and the health checks connect from.
    - ``leaving``: called before a Machine stops receiving traffic, with whether to close its WebSockets.
    - ``prepare``: awaited before the first Machine starts; its argument runs a command in a Machine's environment.
    - ``commands``: the command of each other process group, for the process driver.
    - ``mounts``: pairs of a path in the checkout and its path in the image; a release of the working tree mounts them.
    - ``root``: the checkout.
    """

    config: FlyConfig
    settings: FlySettings
    driver: Driver
    environment: dict[str, str]
    state_dir: Path | None = None
    local: Address | None = None
    check_local: Address | None = None
    leaving: Callable[[str, bool], None] = field(default=lambda _machine, _close_websockets: None)
    prepare: Callable[[RunOnce], Awaitable[None]] = _nothing
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mounts: tuple[tuple[str, str], ...] = ()
    root: Path = Path()


class Fleet:
    """Methods raise ``DriverError``, ``WrongState`` and ``ReleaseFailed``, and ``KeyError`` for an unknown Machine."""

    def __init__(self, parts: FleetParts) -> None:
        self._parts = parts
        self.machines: dict[str, Machine] = {}
        self.gate = AppGate(self.machines, parts.config, parts.settings)
        self.release = Release(1)
        self.dev = False  # whether releases run the working tree
        self.paused: Callable[[], bool] = lambda: False  # whether a debugger is attached; deadlines then do not expire
        self._numbers = 0
        self._last = 0  # number of the newest release, in force or not
        self._specs = Specs(parts.driver, parts.environment, parts.commands, parts.root, parts.mounts)
        self._once = OneOffs(parts.config, parts.driver, self._specs)
        self._passed = False
        self._closed = False
        self._changed = asyncio.Condition()
        self._releasing = asyncio.Lock()
        self._making_again = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.images = ImageLog(parts.state_dir)
        self.cpu_mode = self.configured_cpu
        self._surroundings = surroundings = Surroundings(
            parts.driver,
            parts.config,
            parts.settings,
            self._on_change,
            lambda machine, close_websockets: parts.leaving(machine, close_websockets),
            lambda machine: self._on_notice(machine, "removed"),
            self.images,
            lambda: self.cpu_mode,
            parts.local,
            parts.check_local,
            lambda: self.paused(),
        )
        self.gate.paused = lambda: self.paused()

        self.workers = Workers(parts.config, surroundings, self._specs)

    async def open(self) -> None:
        """Start ``max(1, min_machines_running)`` Machines, as a first deploy with ``--ha=false`` does.

        A restarted stand-in continues with the release that it ran before.
        """
        driver = self._parts.driver
        driver.notice = self._on_notice
        await driver.open()
        self.images.open()
        before = self._release_before()
        if before and await driver.exists(before.resolved):
            self.release = before
            self.dev = before.resolved.dev
        else:
            self.release = Release(before.number + 1 if before else 1)
            self.release.resolved = await driver.resolve(None, None)
            self.release.move(ReleaseStatus.RUNNING)
        await self._parts.prepare(self.run_once)
        if self.release.status is ReleaseStatus.RUNNING:
            await self._once.release_command(self.release)
        for _ in range(max(1, self._parts.config.service.min_machines_running)):
            await self.create()
        await self.workers.open(self.release)
        if self.release.status is ReleaseStatus.RUNNING:
            self.release.move(ReleaseStatus.COMPLETE)
        self._save_release()
        self._spawn(self._autostop())

    @property
    def _release_file(self) -> Path | None:
        return self._parts.state_dir / "release.json" if self._parts.state_dir else None

    def _release_before(self) -> Release | None:
        """The release that this stand-in ran last, before it was restarted."""
        kept = owned_file.load(self._release_file, self._parts.driver.owner) if self._release_file else None
        try:
            return Release.restored(kept) if kept else None
        except (ValueError, KeyError, TypeError):
            return None

    def _save_release(self) -> None:
        if self._release_file:
            owned_file.save(self._release_file, self._parts.driver.owner, self.release.stored())

    async def newer_build(self) -> Image | None:
        """The image that the configured tag names now, if it differs from the image of the release in force.

        None for a release of another tag or of a source folder, and when the configured image does not exist.
        """
        if self.release.image is not None or self.release.source is not None:
            return None
        try:
            found = await self._parts.driver.resolve(None, None)
        except DriverError:
            return None
        return found if found.digest != self.release.resolved.digest else None

    async def close(self) -> None:
        """Stop and remove every Machine. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
        self.gate.close()
        await asyncio.gather(*(machine.destroy() for machine in list(self.machines.values())), self.workers.close())
        await self._parts.driver.close()

    def get(self, machine_id: str) -> Machine:
        """The Machine with this id, of any process group. Raises ``KeyError``."""
        return self.workers.machines.get(machine_id) or self.machines[machine_id]

    @property
    def root(self) -> Path:
        """The checkout."""
        return self._parts.root

    @property
    def debug(self) -> bool:
        """Whether Machines of the working tree listen for a debugger."""
        return self._specs.debug

    @property
    def driver(self) -> Driver:
        return self._parts.driver

    @property
    def healthy(self) -> bool:
        """Whether a Machine passes its checks now."""
        return any(machine.healthy for machine in self.machines.values())

    @property
    def ready(self) -> bool:
        """Whether a request to the app should be answered.

        True while a Machine passes its checks, or when one has passed them since the deploy and a request would wake
        a Machine. So an app that is scaled to zero is ready, and one whose Machines fail or do not start is not.
        """
        if self.healthy:
            return True
        if not (self._passed and self._parts.config.service.auto_start_machines):
            return False
        unchecked = self._parts.settings.route_unchecked
        return any(
            phase_of(machine, route_unchecked=unchecked) in (Phase.ASLEEP, Phase.STARTING, Phase.LEAVING)
            and not machine.given_up
            for machine in self.machines.values()
        )

    async def create(
        self,
        release: Release | None = None,
        *,
        cordoned: bool = False,
        pooled: bool = True,
        config: FlyConfig | None = None,
        launch: bool = True,
    ) -> Machine:
        """Create a Machine of the group that serves HTTP, and start it unless ``launch`` is false.

        It runs the current release with fly.toml's configuration, unless others are given. One that is not ``pooled``
        belongs to a check, which may stop it at any moment: the edge never stops it, does not count it when it looks
        whether there are too many, and sends it no request that could go to another one.
        """
        self._numbers += 1
        config = config or self._parts.config
        spec = self._specs.of(config, secrets.token_hex(7), self._numbers, release or self.release)
        machine = self.machines[spec.id] = Machine(spec, replace(self._surroundings, config=config))
        machine.cordoned, machine.pooled = cordoned, pooled
        try:
            if launch:
                await machine.start()
        except DriverError:
            await self.destroy(machine.id)
            raise
        return machine

    async def run_once(self, command: Sequence[str]) -> tuple[int, list[str]]:
        """Run a command to its end in a temporary Machine of the current release, as Fly runs a release command.

        Returns the exit code and the last lines of output.
        """
        return await self._once.run(command, self.release)

    async def machine_checks(self, machine: Machine, release: Release) -> None:
        """Run ``machine_checks`` of fly.toml against a Machine. Raises ``ReleaseFailed`` and ``DriverError``."""
        await self._once.machine_checks(machine, release)

    @property
    def configured_cpu(self) -> CpuMode:
        """The CPU quota that the settings ask for."""
        return CpuMode(self._parts.settings.cpu)

    async def set_cpu(self, mode: CpuMode) -> None:
        """Set the CPU quota of every Machine, and of Machines created later. Raises ``DriverError``."""
        for machine in list(self.machines.values()):
            await machine.set_cpu(mode)
        self.cpu_mode = mode

    async def destroy(self, machine_id: str) -> None:
        await self.machines[machine_id].destroy()
        self.machines.pop(machine_id, None)
        self._specs.forget(machine_id)
        self._on_change()

    # releases

    async def deploy(
        self,
        image: str | None,
        source: Path | None,
        env: dict[str, str | None],
        *,
        wait: bool,
        timeout_s: float,
        strategy: str | None = None,
    ) -> Release:
        """Deploy a release with ``strategy``, or else with the strategy of fly.toml.

        The release command runs first; if it fails, no Machine is replaced. With ``wait``, each new Machine must become
        healthy within ``timeout_s`` seconds; otherwise the release counts as failed and ``ReleaseFailed`` names the
        Machine. As on Fly, a failed release is not rolled back, except by bluegreen, which keeps the old Machines.
        """
        async with self._releasing:
            deploy = self._parts.config.deploy
            chosen = strategy or deploy.strategy
            self._last = max(self._last, self.release.number) + 1
            before, release = self.release, Release(self._last, image, source, env)
            release.resolved = replace(await self._parts.driver.resolve(image, source), dev=self.dev)
            release.move(ReleaseStatus.RUNNING)
            try:
                await self._once.release_command(release)
                self.release = release
                self._save_release()
                self._passed = False
                steps = _Steps(self, release, timeout_s if wait else None)
                await roll_out(steps, chosen, deploy.max_unavailable)
                await self.workers.replace(release)
            except (DriverError, WrongState, ReleaseFailed) as error:
                release.move(ReleaseStatus.FAILED, str(error))
                if chosen == "bluegreen":
                    self.release = before  # only the old Machines are left, and they still serve
                raise
            else:
                release.move(ReleaseStatus.COMPLETE)
            finally:
                self._save_release()
            return release

    async def develop(self, *, on: bool, timeout_s: float, debug: bool = False) -> None:
        """Deploy the working tree (``on``) or the configured image. Later deploys run the same of the two.

        The image must become healthy within ``timeout_s`` seconds. Raises what ``deploy`` raises.
        """
        self.dev, self._specs.debug = on, debug
        try:
            await self.deploy(None, None, {}, wait=not on, timeout_s=timeout_s, strategy="immediate" if on else None)
        finally:
            self.dev = self.release.resolved.dev

    async def replace(
        self, machine: Machine, release: Release, *, launch: bool = True, config: FlyConfig | None = None
    ) -> None:
        """Stop the Machine and start it with ``release``. It keeps its id.

        ``config`` defaults to fly.toml's. Without ``launch`` the Machine stays stopped until its next start.
        """
        config = config or self._parts.config
        await machine.stop()
        machine.replace(self._specs.of(config, machine.id, machine.spec.number, release), config)
        if launch:
            await machine.start()

    async def candidate(self, image: str | None, env: dict[str, str | None]) -> Release:
        """A release of this image and environment for a single Machine.

        Used when a client of the Machines API updates one Machine. The release in force stays the same until ``adopt``.
        """
        resolved = await self._parts.driver.resolve(image, None)
        now = self.release
        if (now.image, now.env, now.resolved) == (image, env, resolved):
            return now
        self._last = max(self._last, now.number) + 1
        release = Release(self._last, image, None, env, resolved)
        release.move(ReleaseStatus.RUNNING)
        return release

    def adopt(self, release: Release) -> None:
        """Make ``release`` the release in force, once every Machine runs it."""
        if release is not self.release:
            release.move(ReleaseStatus.COMPLETE)
            self.release = release
            self._save_release()

    async def until_healthy(self, machine: Machine, timeout_s: float) -> None:
        """Wait until the Machine is healthy. Raises ``ReleaseFailed`` after ``timeout_s`` seconds or if it gave up."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: machine.healthy or _hopeless(machine))
        except TimeoutError:
            raise ReleaseFailed(
                f"Machine {machine.id} was not healthy within {timeout_s:g} s: {_describe(machine)}"
            ) from None
        if not machine.healthy:
            raise ReleaseFailed(f"Machine {machine.id} does not stay up: {_describe(machine)}")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` is true. It is evaluated after each change of a Machine."""
        async with self._changed:
            await self._changed.wait_for(condition)

    # autostop

    async def _autostop(self) -> None:
        while self._parts.config.service.auto_stop_machines != "off":
            await asyncio.sleep(self._parts.settings.idle_check_s)
            await self.check_idle()

    async def check_idle(self) -> None:
        """Run one autostop check: stop or suspend at most one Machine, as Fly does; none while a debugger is there."""
        if self.paused():
            return
        service, settings = self._parts.config.service, self._parts.settings
        started = [m for m in self.machines.values() if m.state is State.STARTED and m.pooled]
        uses = [Use(m.id, m.load if settings.websockets_count else m.requests, m.used) for m in started]
        for machine in started:
            machine.used = False
        chosen = excess(uses, soft=service.concurrency.soft_limit, minimum=service.min_machines_running)
        if chosen is not None:
            await self._put_to_sleep(self.machines[chosen])

    async def _put_to_sleep(self, machine: Machine) -> None:
        if self._parts.config.service.auto_stop_machines == "suspend":
            try:
                await machine.suspend()
            except (WrongState, DriverError) as error:
                machine.life.note("not suspended", reason=str(error))
            else:
                return
        await machine.stop()

    # changes

    def _on_change(self) -> None:
        self._passed = self._passed or self.healthy
        for machine in self.machines.values():
            if machine.state is State.STARTED and machine.port is Port.CLOSED:
                self.gate.failed(machine, f"PM05: Machine {machine.id} listens on no port {machine.spec.internal_port}")
            elif machine.state is State.STOPPED and machine.given_up:
                self.gate.failed(machine, f"PM05: Machine {machine.id} exited and is not restarted")
        self.gate.pump()
        self._spawn(self._announce())

    def _on_notice(self, machine_id: str, kind: str) -> None:
        machine = self.machines.get(machine_id) or self.workers.machines.get(machine_id)
        if machine is None:
            return
        machine.life.note(kind)
        if kind == "removed":
            self._spawn(self._make_again(machine))

    async def _make_again(self, machine: Machine) -> None:
        """Start a Machine again whose container was removed from outside.

        ``docker compose up`` does that, because the ``api`` service has no replicas. After
        ``docker compose up --build`` the configured tag names a new image, which is deployed as a new release.
        """
        try:
            async with self._making_again:
                if await self.newer_build():
                    await self.deploy(None, None, self.release.env, wait=False, timeout_s=0)
            await machine.start()
        except (DriverError, WrongState) as error:
            machine.life.note("not made again", reason=str(error))

    async def _announce(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Steps:
    """The ``rollout.Steps`` of a fleet. With ``timeout_s`` None, ``healthy`` returns at once."""

    def __init__(self, fleet: Fleet, release: Release, timeout_s: float | None) -> None:
        self._fleet, self._release, self._timeout_s = fleet, release, timeout_s

    def existing(self) -> list[Machine]:
        return [machine for machine in self._fleet.machines.values() if not machine.cordoned]

    async def replace(self, machine: Machine) -> None:
        await self._fleet.replace(machine, self._release)

    async def healthy(self, machine: Machine) -> None:
        if self._timeout_s is not None:
            await self._fleet.until_healthy(machine, self._timeout_s)
            await self._fleet.machine_checks(machine, self._release)

    async def add(self, *, cordoned: bool) -> Machine:
        return await self._fleet.create(self._release, cordoned=cordoned)

    async def destroy(self, machine: Machine) -> None:
        await self._fleet.destroy(machine.id)

    def uncordon(self, machine: Machine) -> None:
        machine.cordoned = False
        self._fleet.gate.pump()


def _hopeless(machine: Machine) -> bool:
    """Whether the Machine has stopped and will not be restarted."""
    return machine.state in (State.STOPPED, State.DESTROYED) and not machine.restarting


def _describe(machine: Machine) -> str:
    checks = "; ".join(f"{s.name} {s.health}: {s.output}" for s in machine.checks.states) if machine.checks else "none"
    return f"{machine.state}, port {machine.port.value}, checks: {checks}"
