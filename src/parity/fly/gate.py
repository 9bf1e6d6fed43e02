"""The queue of requests that wait while a Machine starts or while all Machines are at their hard limit.

Requests leave in the order in which they came. ``routing`` decides where each one goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace

from parity.config.fly_toml import FlyConfig
from parity.fly.edge.context import Target, Waiter
from parity.fly.machines.driver import DriverError
from parity.fly.machines.machine import Machine
from parity.fly.machines.port import Port
from parity.fly.machines.state import State, WrongState
from parity.fly.routing import Decision, Phase, View, Wait, decide
from parity.fly.settings import FlySettings


@dataclass(slots=True)
class _Waiting:
    waiter: Waiter
    wait: Wait
    timer: asyncio.TimerHandle | None = None
    prefer_failed: bool = False  # the preferred Machine did not start, so any other may serve the request


def phase_of(machine: Machine, *, route_unchecked: bool) -> Phase:
    """What a Machine's state, port and checks mean for traffic."""
    if machine.cordoned:
        return Phase.GONE
    state = machine.state
    if state in (State.STARTING, State.STOPPED) and (machine.restarting or state is State.STARTING):
        return Phase.STARTING
    if state in (State.STOPPED, State.SUSPENDED, State.CREATED):
        return Phase.ASLEEP
    if state in (State.STOPPING, State.SUSPENDING):
        return Phase.LEAVING
    if state is State.DESTROYED:
        return Phase.GONE
    if machine.port is Port.CLOSED:
        return Phase.SILENT
    if machine.port is not Port.OPEN:
        return Phase.STARTING
    if machine.checks is not None:
        if machine.checks.failing:
            return Phase.FAILING
        if not route_unchecked and not machine.checks.routable:
            return Phase.STARTING
    return Phase.READY


class AppGate:
    """The queue of one app. ``machines`` is the mapping that the fleet updates; the gate only reads it."""

    def __init__(self, machines: dict[str, Machine], config: FlyConfig, settings: FlySettings) -> None:
        self._machines, self._config, self._settings = machines, config, settings
        self._queue: list[_Waiting] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._waking: set[str] = set()
        self._pumping = False
        self.paused: Callable[[], bool] = lambda: False  # whether a debugger is attached; waits then do not expire

    @property
    def queued(self) -> int:
        return len(self._queue)

    def _views(self) -> list[View]:
        unchecked = self._settings.route_unchecked
        return [
            View(
                m.id,
                Phase.STARTING if m.id in self._waking else phase_of(m, route_unchecked=unchecked),
                m.load,
                m.state is State.SUSPENDED,
                m.pooled,
            )
            for m in self._machines.values()
        ]

    def _decide(self, waiter: Waiter, waiting: _Waiting | None = None) -> Decision:
        limits = self._config.service.concurrency
        wish = waiter.wish
        if waiting is not None and waiting.prefer_failed:
            wish = replace(wish, prefer=None)
        decision = decide(
            self._views(),
            wish,
            soft=limits.soft_limit,
            hard=limits.hard_limit,
            autostart=self._config.service.auto_start_machines,
            prefer_wakes=self._settings.prefer_wakes,
        )
        if decision.wake is not None:
            self._wake(self._machines[decision.wake])
        return decision

    # what exchanges ask for

    def acquire(self, waiter: Waiter) -> None:
        if any(waiting.wait is Wait.CAPACITY for waiting in self._queue) and waiter.wish.force is None:
            self._enqueue(waiter, Wait.CAPACITY)
            return
        self._settle(waiter, self._decide(waiter), None)

    def cancel(self, waiter: Waiter) -> None:
        for waiting in self._queue:
            if waiting.waiter is waiter:
                self._dequeue(waiting)
                return

    def release(self, target: Target, *, websocket: bool) -> None:
        machine = self._machines.get(target.id)
        if machine is not None:
            if websocket:
                machine.websockets -= 1
            else:
                machine.requests -= 1
            machine.used = True
        if self._queue:
            self.pump()

    def unreachable(self, target: Target) -> None:
        """The edge reports a refused connection to a port that was open; check the port again."""
        machine = self._machines.get(target.id)
        if machine is not None and machine.state is State.STARTED and machine.port is Port.OPEN:
            machine.probe()

    # deciding again

    def pump(self) -> None:
        """Decide again for every waiting request. Call it after each change of a Machine or of its load."""
        if self._pumping:
            return
        self._pumping = True
        try:
            full = False
            for waiting in list(self._queue):
                if waiting not in self._queue or (full and waiting.waiter.wish.force is None):
                    continue
                decision = self._decide(waiting.waiter, waiting)
                self._settle(waiting.waiter, decision, waiting)
                full = full or decision.wait is Wait.CAPACITY
        finally:
            self._pumping = False

    def _settle(self, waiter: Waiter, decision: Decision, waiting: _Waiting | None) -> None:
        if decision.use is not None:
            if waiting:
                self._dequeue(waiting)
            machine = self._machines[decision.use]
            if waiter.websocket:
                machine.websockets += 1
            else:
                machine.requests += 1
            machine.used = True
            waiter.assigned(machine)
        elif decision.refuse is not None:
            if waiting:
                self._dequeue(waiting)
            waiter.refused(*decision.refuse)
        elif decision.wait is not None and waiting is None:
            self._enqueue(waiter, decision.wait)
        elif decision.wait is not None and waiting is not None and waiting.wait is not decision.wait:
            waiting.wait = decision.wait
            self._time(waiting)

    def _enqueue(self, waiter: Waiter, wait: Wait) -> None:
        waiting = _Waiting(waiter, wait)
        self._queue.append(waiting)
        self._time(waiting)

    def _time(self, waiting: _Waiting) -> None:
        """Start the timeout of a request that waits for capacity.

        A request that waits for a start needs none, because a start always ends in success or failure.
        """
        if waiting.timer:
            waiting.timer.cancel()
            waiting.timer = None
        if waiting.wait is Wait.CAPACITY:
            loop = asyncio.get_running_loop()
            waiting.timer = loop.call_later(self._settings.queue_s, self._overdue, waiting)

    def _overdue(self, waiting: _Waiting) -> None:
        if self.paused():
            self._time(waiting)
            return
        self._dequeue(waiting)
        waiting.waiter.refused(503, f"PR04: queued for {self._settings.queue_s:g} s: all Machines at their hard limit")

    def _dequeue(self, waiting: _Waiting) -> None:
        if waiting.timer:
            waiting.timer.cancel()
        if waiting in self._queue:
            self._queue.remove(waiting)

    # waking

    def _wake(self, machine: Machine) -> None:
        if machine.state is State.STARTED:
            machine.probe()
        elif machine.id not in self._waking:
            self._waking.add(machine.id)
            self._run(self._start(machine))

    async def _start(self, machine: Machine) -> None:
        try:
            await machine.start()
        except (DriverError, WrongState) as error:
            self._waking.discard(machine.id)
            self.failed(machine, f"PM05: Machine {machine.id} could not be started: {error}")
        finally:
            self._waking.discard(machine.id)
        self.pump()

    def failed(self, machine: Machine, reason: str) -> None:
        """A start failed: refuse the requests that waited for it, unless another Machine is ready or starting."""
        if machine.id in self._waking:
            return  # it is being started again
        for waiting in self._queue:
            if waiting.waiter.wish.prefer == machine.id:
                waiting.prefer_failed = True
        if any(view.phase in (Phase.READY, Phase.STARTING) for view in self._views()):
            self.pump()
            return
        for waiting in list(self._queue):
            if waiting.wait is Wait.START:
                self._dequeue(waiting)
                waiting.waiter.refused(502, reason)

    def _run(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Refuse all waiting requests. A running start is not cancelled, because stopping its Machine waits for it."""
        for waiting in list(self._queue):
            self._dequeue(waiting)
            waiting.waiter.refused(503, "the edge is shutting down")
