"""Assigns inputs to containers: queues, containers, timeouts and retries. The decisions are in ``outcomes``."""

from __future__ import annotations

import asyncio
import signal
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Protocol

from modal_proto import api_pb2 as pb

from parity.modal import outcomes
from parity.modal.callbook import Call, CallBook, Input
from parity.modal.faults import Fault, Faults
from parity.modal.identifiers import fresh_id
from parity.modal.registry import Function, Registry
from parity.modal.results import fields_of, with_fields
from parity.modal.tasks import Pool, Task

Result = pb.GenericResult


class Launcher(Protocol):
    """What starts and ends containers: the connected worker."""

    def start(self, task: Task, function: Function) -> bool: ...  # False: no worker is connected
    def stop(self, task_id: str, with_signal: signal.Signals) -> None: ...


class Scheduler:
    """Moves inputs from queued to running to done."""

    def __init__(
        self, registry: Registry, calls: CallBook, faults: Faults, launcher: Launcher, max_containers: int
    ) -> None:
        self._registry, self._calls, self._faults, self._launcher = registry, calls, faults, launcher
        self._max_containers = max_containers
        self._pools: defaultdict[str, Pool] = defaultdict(Pool)
        self._timers: dict[object, asyncio.TimerHandle] = {}
        self.tasks: dict[str, Task] = {}
        self.patient = False  # while functions are debugged, no deadline expires
        # Inputs whose container was running when the control plane ended or the worker's connection broke.
        self._orphans: defaultdict[str, list[Input]] = defaultdict(list)
        for item in calls.inputs.values():
            if item.state == "queued":
                self._pools[item.call.function_id].queue.append(item)
            elif item.state == "running":
                self._orphans[item.task_id].append(item)

    # Inputs

    def submit(self, item: Input) -> None:
        """Queue an input, and start a container for it where needed."""
        function = self._registry.functions[item.call.function_id]
        fault = self._faults.take("function", function.tag)
        if fault is None:
            self._enqueue(item)
        elif fault.delay_s:
            self._later(item.id, fault.delay_s, lambda: self._apply(fault, item))
        else:
            self._apply(fault, item)

    async def fetch(self, task: Task) -> Input | None:
        """The next input for a container. None: the container must end."""
        task.fetched = True
        self._cancel_timer(task.id)
        function = self._registry.functions.get(task.function_id)
        idle_s = (function.definition.task_idle_timeout_secs if function else 0) or outcomes.DEFAULT_IDLE_S
        pool = self._pools[task.function_id]
        pool.failed_starts = 0
        while function is not None and not task.draining:
            if pool.waiting():
                return self._claim(task, pool.queue.popleft(), function)
            try:
                await asyncio.wait_for(pool.changed.wait(), idle_s)
            except TimeoutError:
                if not task.running:
                    break
        # This container gets no more inputs, so a new input starts a new container.
        task.draining = True
        return None

    def put_output(self, task_id: str, input_id: str, result: pb.GenericResult, data_format: int) -> None:
        """A container's result for an input; one that is unknown or finished (cancelled, timed out) is dropped."""
        if task_id in self.tasks:
            self.tasks[task_id].running.pop(input_id, None)
        item = self._calls.inputs.get(input_id)
        if item is not None and item.task_id == task_id:
            self._conclude(item, self._as_another_release(item, result, data_format), data_format)

    def cancel(self, call: Call, *, terminate: bool) -> None:
        """End every unfinished input of a call as cancelled, in its container too."""
        for item in call.inputs.values():
            if item.state == "done":
                continue
            task = self.tasks.get(item.task_id)
            self._finish(item, outcomes.cancelled_result(), pb.DATA_FORMAT_PICKLE)
            if task is not None and terminate:
                self._launcher.stop(task.id, signal.SIGKILL)
            elif task is not None:
                task.to_cancel.append(item.id)
                task.wake.set()

    # Containers

    def exited(self, task_id: str, code: int, log: str) -> None:
        """A container's process ended."""
        task = self.tasks.pop(task_id, None)
        self._cancel_timer(task_id)
        for item in self._orphans.pop(task_id, []):
            self._crashed(item, code)
        if task is None:
            return
        for item in list(task.running.values()):
            self._crashed(item, code)
        pool, function = self._pools[task.function_id], self._registry.functions.get(task.function_id)
        tag = function.tag if function else task.function_id
        if task.start_error is not None:
            self._fail_queue(pool, task.start_error)
        elif not task.fetched and not task.draining:
            pool.failed_starts += 1
            if pool.failed_starts >= outcomes.FAILED_STARTS:
                pool.failed_starts = 0
                self._fail_queue(pool, outcomes.start_failure(tag, code, log))
        self._scale(task.function_id)

    def adopt(self, reported: dict[str, str]) -> list[str]:
        """A worker connected and reports its containers (id → function). Returns those that it must end.

        Inputs of containers that it does not report are run again.
        """
        for task_id in [task_id for task_id in self.tasks if task_id not in reported]:
            self.exited(task_id, -signal.SIGKILL, "")
        unknown = []
        for task_id, function_id in reported.items():
            if function_id not in self._registry.functions:
                unknown.append(task_id)
            elif task_id not in self.tasks:
                self._adopt(Task(task_id, function_id, fetched=True))
        for task_id in list(self._orphans):
            self.exited(task_id, -signal.SIGKILL, "")
        for function_id in list(self._pools):
            self._scale(function_id)
        return unknown

    def worker_left(self) -> None:
        """The worker's connection broke. Its containers may still run, and are reported when it reconnects.

        Until then they get no new input, because their death would not be noticed.
        """
        for task in self.tasks.values():
            self._cancel_timer(task.id)
            self._orphans[task.id].extend(task.running.values())
            task.draining = True
            self._pools[task.function_id].notify()
        self.tasks.clear()

    def drain(self, functions: Iterable[Function]) -> None:
        """Let the containers of these functions end after their current inputs; new containers run the new
        definition."""
        for function in functions:
            for task in self.tasks.values():
                if task.function_id == function.id:
                    task.draining = True
            self._pools[function.id].notify()
            if function.id in self._registry.functions:
                self._scale(function.id)

    def waiting(self, function_id: str) -> int:
        """How many inputs of a function wait for a container."""
        return self._pools[function_id].waiting() if function_id in self._pools else 0

    # Internals

    def _adopt(self, task: Task) -> None:
        self.tasks[task.id] = task
        for item in self._orphans.pop(task.id, []):
            if item.state == "running":
                task.running[item.id] = item
                self._watch(task, item, self._registry.functions[task.function_id])

    def _enqueue(self, item: Input) -> None:
        if item.state == "done":
            return
        pool = self._pools[item.call.function_id]
        pool.queue.append(item)
        pool.notify()
        self._scale(item.call.function_id)

    def _apply(self, fault: Fault, item: Input) -> None:
        if fault.status == "EXPIRED":
            item.call.expired = True
            item.call.notify()
        elif fault.status != "LOST":
            status = Result.GenericStatus.Value(f"GENERIC_STATUS_{fault.status}")
            result = Result(status=status, exception=fault.message or f"injected {fault.status}")
            self._conclude(item, result, item.item.data_format or pb.DATA_FORMAT_PICKLE)

    def _as_another_release(self, item: Input, result: pb.GenericResult, data_format: int) -> pb.GenericResult:
        """The result with the changes of a fault ``result``, where one applies and the result is a plain dict."""
        function = self._registry.functions.get(item.call.function_id)
        if function is None or not self._faults.armed or (found := fields_of(result, data_format)) is None:
            return result
        fault = self._faults.take("result", function.tag)
        return result if fault is None else with_fields(result, data_format, found, fault.fields)

    def _claim(self, task: Task, item: Input, function: Function) -> Input:
        self._calls.start(item, task.id)
        task.running[item.id] = item
        self._watch(task, item, function)
        fault = self._faults.take("container", function.tag)
        if fault is not None:
            task_id = task.id
            self._later(fault, fault.delay_s, lambda: self._launcher.stop(task_id, signal.SIGKILL))
        return item

    def _watch(self, task: Task, item: Input, function: Function) -> None:
        seconds = function.definition.timeout_secs
        if not seconds:
            return

        def expire() -> None:
            if self.patient:
                self._watch(task, item, function)
            elif item.state == "running":
                task.running.pop(item.id, None)
                task.draining = True
                self._conclude(item, outcomes.timeout_result(function.tag, item.id, seconds), pb.DATA_FORMAT_PICKLE)
                self._launcher.stop(task.id, signal.SIGKILL)

        self._later(item.id, seconds, expire)

    def _conclude(self, item: Input, result: pb.GenericResult, data_format: int) -> None:
        """An attempt ended: repeat it or finish."""
        function = self._registry.functions.get(item.call.function_id)
        policy = function.definition.retry_policy if function else pb.FunctionRetryPolicy()
        delay = outcomes.retry_delay(policy, item.call.invocation, result.status, item.retries)
        if delay is None or item.state == "done":
            self._finish(item, result, data_format)
            return
        item.retries += 1
        self._calls.requeue(item)
        self._later(item.id, delay, lambda: self.submit(item))

    def _finish(self, item: Input, result: pb.GenericResult, data_format: int) -> None:
        self._cancel_timer(item.id)
        self._calls.finish(item, result, data_format)

    def _crashed(self, item: Input, code: int) -> None:
        if item.state != "running":
            return
        self._cancel_timer(item.id)
        item.crashes += 1
        function = self._registry.functions.get(item.call.function_id)
        result = outcomes.after_crash(item.crashes, function.tag if function else item.call.function_id, code)
        if result is None and function is not None:
            self._calls.requeue(item)
            self._enqueue(item)
        else:
            gone = Result(status=Result.GENERIC_STATUS_TERMINATED, exception="the function is no longer deployed")
            self._conclude(item, result or gone, pb.DATA_FORMAT_PICKLE)

    def _fail_queue(self, pool: Pool, result: pb.GenericResult) -> None:
        while pool.queue:
            self._finish(pool.queue.popleft(), result, pb.DATA_FORMAT_PICKLE)

    def _scale(self, function_id: str) -> None:
        function, pool = self._registry.functions.get(function_id), self._pools[function_id]
        if function is None:
            return
        alive = [task for task in self.tasks.values() if task.function_id == function_id and not task.draining]
        slots = outcomes.concurrency(function.definition)
        count = outcomes.containers_to_start(
            waiting=pool.waiting(),
            free_slots=sum(max(0, slots - len(task.running)) for task in alive),
            alive=len(alive),
            limit=outcomes.container_limit(function.definition, self._max_containers),
            per_container=slots,
        )
        for _ in range(count):
            task = Task(fresh_id("ta"), function_id)
            if not self._launcher.start(task, function):
                return
            self.tasks[task.id] = task
            limit_s = function.definition.startup_timeout_secs or outcomes.DEFAULT_STARTUP_S
            self._limit_start(task, limit_s)

    def _limit_start(self, task: Task, limit_s: float) -> None:
        """Kill a container that has not asked for an input within ``limit_s``."""

        def expire() -> None:
            if self.patient:
                self._limit_start(task, limit_s)
            else:
                self._launcher.stop(task.id, signal.SIGKILL)

        self._later(task.id, limit_s, expire)

    def _later(self, key: object, seconds: float, action: Callable[[], None]) -> None:
        self._cancel_timer(key)
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._fire, key, action)

    def _fire(self, key: object, action: Callable[[], None]) -> None:
        self._timers.pop(key, None)
        action()

    def _cancel_timer(self, key: object) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
