"""One Machine: its state, port, health checks and load, and the operations that change its state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from parity.config.fly_toml import FlyConfig
from parity.fly.machines.checks import CheckRunner, checks_of
from parity.fly.machines.cpu import STEP_S, CpuMode, CpuQuota
from parity.fly.machines.driver import Address, Driver, DriverError, Exit, MachineSpec
from parity.fly.machines.image_log import ImageLog
from parity.fly.machines.port import Port, PortProbe
from parity.fly.machines.restart import RestartPolicy
from parity.fly.machines.state import Lifecycle, State, WrongState
from parity.fly.settings import FlySettings

# Fly does not suspend Machines with more memory than this or with swap.
SUSPEND_MEMORY_MB = 2048
# How long to wait for the end of a process after SIGKILL, in seconds.
KILL_WAIT_S = 10.0
# How often to look whether requests are in flight, in seconds.
DRAIN_POLL_S = 0.01


@dataclass(frozen=True)
class Surroundings:
    """What Machines need from the stand-in; ``local``, ``check_local``: addresses to connect from, None for any."""

    driver: Driver
    config: FlyConfig
    settings: FlySettings
    changed: Callable[[], None]
    leaving: Callable[[str, bool], None]  # called before traffic ends, with the id and whether to close the WebSockets
    removed: Callable[[str], None]  # called when another program removed the Machine's container
    images: ImageLog
    cpu_mode: Callable[[], CpuMode]
    local: Address | None = None
    check_local: Address | None = None
    paused: Callable[[], bool] = lambda: False  # whether a debugger is attached


class Machine:
    """One Machine. A lock makes its operations sequential; each may raise ``WrongState`` or ``DriverError``."""

    def __init__(self, spec: MachineSpec, surroundings: Surroundings) -> None:
        self.spec = spec
        self._with = surroundings
        self.life = Lifecycle(surroundings.changed)
        self.address: Address | None = None
        self._port = PortProbe(surroundings.settings, surroundings.local, self._probed, surroundings.paused)
        self.requests = 0
        self.websockets = 0
        self.used = False
        self.cordoned = False  # gets no traffic, because its release is not in force yet
        self.pooled = True  # the edge sends it requests, and may stop it when there are too many Machines
        self.restarting = False
        self.given_up = False  # it exited and is not restarted
        self.checks: CheckRunner | None = None
        self.cpu = CpuQuota(CpuMode.OFF, "", spec.cpus)
        self._accounting: asyncio.Task[None] | None = None
        self._policy = self._new_policy()
        self._lock = asyncio.Lock()
        self._ended: asyncio.Task[Exit] | None = None
        self._restart: asyncio.Task[None] | None = None
        self._doomed = False

    def _new_policy(self) -> RestartPolicy:
        restart = self._with.config.restart_policy
        return RestartPolicy(restart.policy, restart.max_retries)

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def state(self) -> State:
        return self.life.state

    @property
    def load(self) -> int:
        """Requests and WebSockets in flight."""
        return self.requests + self.websockets

    @property
    def healthy(self) -> bool:
        """Whether it is started and all checks pass; without checks, whether its port is open."""
        if self.state is not State.STARTED:
            return False
        if not self.spec.serves:
            return self.checks is None or self.checks.passing
        return self.port is Port.OPEN if self.checks is None else self.checks.passing

    async def start(self) -> None:
        """Start or resume the Machine. The port may open later. The count of restarts is reset."""
        async with self._lock:
            if self.state is not State.STARTED:
                self._policy = self._new_policy()
            await self._start()

    async def _start(self) -> None:
        if self.state is State.STARTED:
            return
        resuming = self.state is State.SUSPENDED
        self.given_up = False
        self.life.move(State.STARTING, resume=resuming)
        failure: str | None = "cancelled"
        try:
            if resuming:
                await self._with.driver.resume(self.id)
            else:
                await asyncio.sleep(self._with.settings.boot_s)
                self._with.images.started(self.id, self.spec.image)
                self.cpu = CpuQuota(self._with.cpu_mode(), self._with.config.machine.cpu_kind, self.spec.cpus)
                share = self.cpu.share if self.cpu.limited else None
                self.address = await self._with.driver.start(replace(self.spec, cpu_share=share))
            failure = None
        except DriverError as error:
            failure = str(error)
            raise
        finally:
            if failure is not None:
                self._stopped(error=failure)
        self._port.reset(Port.OPEN if resuming else Port.UNKNOWN)
        self.used = True
        self.life.move(State.STARTED)
        if not resuming:
            self._ended = asyncio.create_task(self._with.driver.wait(self.id))
            self._ended.add_done_callback(self._exited)
            self.probe()
        self._account()
        self._start_checks()

    def _account(self) -> None:
        if self._accounting:
            self._accounting.cancel()
        self._accounting = asyncio.create_task(self._keep_account()) if self.cpu.limited else None

    async def _keep_account(self) -> None:
        """Until the Machine ends: subtract its CPU time from the balance, and set the quota accordingly."""
        driver, loop = self._with.driver, asyncio.get_running_loop()
        used, at, share = await driver.cpu_seconds(self.id), loop.time(), self.cpu.share
        while self.state is State.STARTED:
            await asyncio.sleep(STEP_S)
            now_used, now = await driver.cpu_seconds(self.id), loop.time()
            if used is not None and now_used is not None:
                self.cpu.spend(now_used - used, now - at)
            used, at = now_used, now
            if self.cpu.share != share and self.state is State.STARTED:
                share = self.cpu.share
                try:
                    await driver.limit_cpu(self.id, share)
                except DriverError as error:
                    self.life.note("cpu quota not set", reason=str(error))

    async def set_cpu(self, mode: CpuMode) -> None:
        """Change the CPU mode and reset the balance. Raises ``DriverError`` if the driver has no CPU quota."""
        async with self._lock:
            self.cpu = CpuQuota(mode, self._with.config.machine.cpu_kind, self.spec.cpus)
            if self.state is State.STARTED:
                await self._with.driver.limit_cpu(self.id, self.cpu.share)
                self._account()

    def _start_checks(self) -> None:
        assert self.address is not None
        if checks := checks_of(self._with.config):
            host, port = self.address
            ports = {self.spec.internal_port: port}
            interval = self._with.settings.grace_check_s
            self.checks = CheckRunner(
                checks, host, ports, self._with.check_local, interval, self._checked, self._with.paused
            )

    def _checked(self) -> None:
        """Called when a check's result changes. If the checks pass, the port is open, even if it opened late."""
        if self.port is Port.CLOSED and self.checks is not None and self.checks.routable:
            self.probe()
        self._with.changed()

    @property
    def port(self) -> Port:
        """Whether the edge could connect to the internal port."""
        return self._port.state

    def probe(self) -> None:
        """Try repeatedly to connect to the port, as the edge does after a start."""
        if self.state is State.STARTED and self.port is not Port.PROBING and self.spec.serves:
            assert self.address is not None
            wait_s = self._with.config.deploy.wait_timeout_s
            self._port.begin(self.address, wait_s=wait_s, dev=self.spec.image.dev)

    def _probed(self) -> None:
        self.life.note("port", open=self.port is Port.OPEN)
        self._with.changed()

    async def stop(self) -> None:
        """Stop as Fly does: no new traffic, a close frame for each WebSocket, a short wait for requests in flight, then
        ``kill_signal``; SIGTERM after ``kill_timeout``, and SIGKILL after twice that."""
        async with self._lock:
            if self.state in (State.STOPPED, State.CREATED, State.DESTROYED):
                return
            config = self._with.config
            suspended = self.state is State.SUSPENDED
            if self.state is not State.STOPPING:  # if an earlier stop was cancelled, continue it
                self._leave(State.STOPPING, close_websockets=True)
            if suspended:
                await self._with.driver.resume(self.id)
            else:
                await self._settled(lambda: self.load)
            for signal in (config.kill_signal, "SIGTERM"):
                if await self._end(signal, config.kill_timeout_s):
                    return
            await self._end("SIGKILL", KILL_WAIT_S)

    async def _settled(self, busy: Callable[[], int]) -> None:
        """Wait until ``busy`` returns 0, at most ``cordon_s`` seconds, so that the app can still accept requests in
        flight and WebSockets get their close frame."""
        try:
            async with asyncio.timeout(self._with.settings.cordon_s):
                while busy() and not (self._ended and self._ended.done()):  # noqa: ASYNC110 - a plain counter
                    await asyncio.sleep(DRAIN_POLL_S)
        except TimeoutError:
            return

    async def reload(self) -> None:
        """Restart the Machine with the current sources. A stopped or suspended Machine stays stopped. A Machine that
        never opened its port is killed."""
        if self.state is State.SUSPENDED or (self.state is State.STOPPED and not (self.given_up or self.restarting)):
            await self.stop()
            return
        self.restarting = True  # so requests wait during the restart
        try:
            if self.state is State.STARTED and self.port is not Port.OPEN and not self.load:
                await self.kill()
            await self.stop()
            await self.start()
        except DriverError:
            # The container ended before Docker reported it as running: the code does not start.
            self.given_up = True
            raise
        finally:
            self.restarting = False
            self._with.changed()

    async def kill(self) -> None:
        """Simulate the loss of the VM: no close frames and no signal that the app could handle."""
        async with self._lock:
            if self.state not in (State.STARTED, State.SUSPENDED):
                raise WrongState(f"the Machine is {self.state}: only a started or suspended Machine can be killed")
            self._leave(State.STOPPING, close_websockets=False)
            await self._end("SIGKILL", KILL_WAIT_S)

    async def _end(self, signal: str, wait_s: float) -> bool:
        """Send a signal and wait up to ``wait_s`` seconds; returns whether the Machine stopped."""
        assert self._ended is not None
        self.life.note("signal", signal=signal)
        await self._with.driver.signal(self.id, signal)
        done, _ = await asyncio.wait({self._ended}, timeout=wait_s)
        if not done:
            return False
        ended = self._ended.result()
        self._stopped(exit_code=ended.code, oom_killed=ended.oom_killed)
        return True

    def _stopped(self, **detail: object) -> None:
        self._with.images.ended(self.id)
        self.life.move(State.STOPPED, **detail)

    def _leave(self, to: State, *, close_websockets: bool) -> None:
        self.life.move(to)
        self._quiet()
        self._with.leaving(self.id, close_websockets)

    def _quiet(self) -> None:
        self._port.reset()
        if self._accounting:
            self._accounting.cancel()
        if self.checks:
            self.checks.close()
            self.checks = None

    async def suspend(self) -> None:
        """Freeze the Machine. Raises ``WrongState`` if Fly would not suspend it."""
        async with self._lock:
            config = self._with.config
            if config.machine.memory_mb > SUSPEND_MEMORY_MB or config.swap_size_mb:
                raise WrongState(f"Fly does not suspend a Machine with more than {SUSPEND_MEMORY_MB} MB or with swap")
            self._leave(State.SUSPENDING, close_websockets=True)
            await self._settled(lambda: self.websockets)
            try:
                self.address = await self._with.driver.suspend(self.id) or self.address
            except DriverError:
                self.life.note("suspend failed")
                await self._with.driver.signal(self.id, "SIGKILL")
                raise
            if self.state is State.SUSPENDING:
                self.life.move(State.SUSPENDED)

    async def destroy(self) -> None:
        """Stop and remove the Machine."""
        self._doomed = True
        await self.stop()
        async with self._lock:
            if self.state is State.DESTROYED:
                return
            await self._with.driver.remove(self.id)
            self.life.move(State.DESTROYED)

    def _exited(self, task: asyncio.Task[Exit]) -> None:
        """Called when the process ends: restart it by the policy, unless the Machine is being stopped."""
        if task.cancelled() or self.state in (State.STOPPING, State.STOPPED, State.DESTROYED):
            return
        ended = task.result()
        # Code of the working tree that does not start is reported immediately, without restarts.
        broken = self.spec.image.dev and self.spec.serves and self.port is not Port.OPEN
        self._quiet()
        if ended.removed:
            self._stopped(exit_code=ended.code, removed=True)
            self._with.removed(self.id)
            return
        loop = asyncio.get_running_loop()
        self.restarting = not broken and self._policy.restart(ended.code, loop.time())
        self.given_up = not self.restarting
        self._stopped(exit_code=ended.code, oom_killed=ended.oom_killed, crashed=True, restart=self.restarting)
        if self.restarting:
            self._restart = loop.create_task(self._start_again())

    async def _start_again(self) -> None:
        try:
            async with self._lock:
                if self.state is State.STOPPED and not self._doomed:
                    await self._start()
        except DriverError:
            pass  # noted as an event by _start; the Machine stays stopped
        finally:
            self.restarting = False
            self._with.changed()

    @property
    def config(self) -> FlyConfig:
        """Its configuration: that of fly.toml, or of a deploy through Fly's API."""
        return self._with.config

    def replace(self, spec: MachineSpec, config: FlyConfig) -> None:
        """Set the release and configuration of the next start. Raises ``WrongState`` unless the Machine is stopped."""
        if self.state not in (State.STOPPED, State.CREATED):
            raise WrongState(f"the Machine is {self.state}: only a stopped one can be replaced")
        self.spec = spec
        self._with = replace(self._with, config=config)

    def as_json(self) -> dict[str, object]:
        """The form of the admin API, with the field names of Fly's Machines API where they exist."""
        return {
            "id": self.id,
            "state": str(self.state),
            "since": self.life.since,
            "version": self.spec.environment["FLY_MACHINE_VERSION"],
            "image_ref": self.spec.image.ref,
            "digest": self.spec.image.digest,
            "commit": self.spec.image.commit,
            "dev": self.spec.image.dev,
            "debug": self.spec.debug,
            "region": self.spec.environment["FLY_REGION"],
            "address": list(self.address) if self.address else None,
            "port": self.port.value,
            "healthy": self.healthy,
            "requests": self.requests,
            "websockets": self.websockets,
            "cpu": self.cpu.as_json(),
            "checks": [state.as_json() for state in self.checks.states] if self.checks else [],
            "events": [{"time": e.time, "type": e.type, **e.detail} for e in self.life.events],
            "config": {
                "env": self.spec.environment,
                "guest": {"cpus": self.spec.cpus, "memory_mb": self.spec.memory_mb},
            },
        }
