"""The scheduler's moves with a launcher that only writes down what it is told."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from modal_proto import api_pb2 as pb
from tests.parity.fly.support import until

from parity.modal.callbook import Call, CallBook, Input
from parity.modal.database import open_database
from parity.modal.faults import Faults
from parity.modal.registry import Function, Registry
from parity.modal.scheduler import Scheduler
from parity.modal.tasks import Task

FUNCTION = "fu-1"
DONE = pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_SUCCESS)


class Orders:
    """A launcher."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.connected = True

    def start(self, task: Task, function: Function) -> bool:
        if self.connected:
            self.started.append(task.id)
        return self.connected

    def stop(self, task_id: str, with_signal: signal.Signals) -> None:
        self.stopped.append(task_id)


class Plant:
    """A scheduler over a state folder; a second one over the same folder is a restart."""

    def __init__(self, folder: Path, **definition: int) -> None:
        self.database = open_database(folder)
        self.registry = Registry(self.database)
        if FUNCTION not in self.registry.functions:
            app = self.registry.create_app("app")
            self.registry.stage(Function(FUNCTION, app.id, "f", pb.Function(function_name="f", **definition)))  # type: ignore[arg-type]
            self.registry.publish(app, {"f": FUNCTION}, {})
        self.calls, self.orders = CallBook(self.database), Orders()
        self.scheduler = Scheduler(self.registry, self.calls, Faults(), self.orders, max_containers=2)

    def submit(self) -> Input:
        call = self.calls.create(FUNCTION, pb.FUNCTION_CALL_INVOCATION_TYPE_ASYNC)
        item = self.calls.add(call, 0, pb.FunctionInput())
        self.scheduler.submit(item)
        return item

    def task(self, number: int = 0) -> Task:
        return self.scheduler.tasks[self.orders.started[number]]

    def put(self, item: Input) -> None:
        self.scheduler.put_output(item.task_id, item.id, DONE, pb.DATA_FORMAT_PICKLE)


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    made = Plant(tmp_path)
    yield made
    made.database.close()


async def test_a_waiting_input_starts_a_container_and_the_limit_holds(plant: Plant) -> None:
    for _ in range(5):
        plant.submit()
    assert len(plant.orders.started) == 2


async def test_a_free_container_takes_the_next_input_and_no_other_is_started(plant: Plant) -> None:
    first = plant.submit()
    assert await plant.scheduler.fetch(plant.task()) is first
    plant.put(first)
    second = plant.submit()
    assert await plant.scheduler.fetch(plant.task()) is second
    assert len(plant.orders.started) == 1


async def test_without_a_worker_inputs_wait_for_the_next(plant: Plant) -> None:
    plant.orders.connected = False
    item = plant.submit()
    plant.orders.connected = True
    plant.scheduler.adopt({})
    assert await plant.scheduler.fetch(plant.task()) is item


async def test_a_container_that_waits_takes_nothing_once_its_worker_is_gone(plant: Plant) -> None:
    first = plant.submit()
    task = plant.task()
    await plant.scheduler.fetch(task)
    plant.put(first)
    waiting = asyncio.create_task(plant.scheduler.fetch(task))
    await asyncio.sleep(0)
    plant.scheduler.worker_left()
    item = plant.submit()
    assert await waiting is None
    assert item.state == "queued"


async def test_a_busy_container_that_is_reported_again_keeps_its_input(plant: Plant) -> None:
    item = plant.submit()
    task = plant.task()
    await plant.scheduler.fetch(task)
    plant.scheduler.worker_left()
    assert plant.scheduler.adopt({task.id: FUNCTION, "ta-unknown": "fu-unknown"}) == ["ta-unknown"]
    plant.put(item)
    assert (item.state, item.crashes) == ("done", 0)


async def test_an_input_whose_container_is_not_reported_runs_again(plant: Plant) -> None:
    item = plant.submit()
    await plant.scheduler.fetch(plant.task())
    plant.scheduler.worker_left()
    plant.scheduler.adopt({})
    assert (item.state, item.crashes) == ("queued", 1)
    assert await plant.scheduler.fetch(plant.task(1)) is item


async def test_a_worker_that_takes_the_place_of_another_reports_all_that_runs(plant: Plant) -> None:
    item = plant.submit()
    await plant.scheduler.fetch(plant.task())
    plant.scheduler.adopt({})
    assert item.state == "queued"


async def test_running_and_waiting_inputs_are_known_after_a_restart(plant: Plant, tmp_path: Path) -> None:
    running = plant.submit()
    await plant.scheduler.fetch(plant.task())
    waiting = plant.submit()
    again = Plant(tmp_path)
    again.scheduler.adopt({running.task_id: FUNCTION})
    again.put(again.calls.inputs[running.id])
    assert again.calls.inputs[running.id].state == "done"
    assert await again.scheduler.fetch(again.scheduler.tasks[running.task_id]) is again.calls.inputs[waiting.id]
    again.database.close()


async def test_the_result_of_a_cancelled_input_that_ends_after_all_changes_nothing(plant: Plant) -> None:
    item = plant.submit()
    task = plant.task()
    await plant.scheduler.fetch(task)
    plant.scheduler.cancel(item.call, terminate=False)
    plant.put(item)
    assert _statuses(item.call) == [pb.GenericResult.GENERIC_STATUS_TERMINATED]
    assert task.to_cancel == [item.id]


async def test_three_containers_that_die_at_their_start_fail_what_waits(plant: Plant) -> None:
    item = plant.submit()
    for number in range(3):
        assert item.state == "queued"
        plant.scheduler.exited(plant.orders.started[number], 1, "no such module")
    (output,) = item.call.outputs.values()
    assert output.result.status == pb.GenericResult.GENERIC_STATUS_INIT_FAILURE
    assert "no such module" in output.result.exception


async def test_a_container_of_a_changed_function_ends_after_its_input(plant: Plant) -> None:
    item = plant.submit()
    task = plant.task()
    await plant.scheduler.fetch(task)
    plant.scheduler.drain([plant.registry.functions[FUNCTION]])
    plant.put(item)
    assert item.state == "done"
    assert await plant.scheduler.fetch(task) is None


async def test_an_idle_container_is_ended_and_the_next_input_starts_another(tmp_path: Path) -> None:
    plant = Plant(tmp_path, task_idle_timeout_secs=1)
    first = plant.submit()
    await plant.scheduler.fetch(plant.task())
    plant.put(first)
    assert await plant.scheduler.fetch(plant.task()) is None
    plant.submit()
    assert len(plant.orders.started) == 2
    plant.database.close()


class Asked(Scheduler):
    """Counts how often a deadline has asked whether it may pass."""

    asked, answer = 0, True

    @property
    def patient(self) -> bool:
        self.asked += 1
        return self.answer

    @patient.setter
    def patient(self, value: bool) -> None:
        self.answer = value


@pytest.fixture
def debugged(tmp_path: Path) -> Iterator[tuple[Plant, Asked]]:
    """Functions may take a second; they are debugged."""
    plant = Plant(tmp_path, timeout_secs=1, startup_timeout_secs=1)
    scheduler = Asked(plant.registry, plant.calls, Faults(), plant.orders, max_containers=2)
    scheduler.patient, plant.scheduler = True, scheduler
    yield plant, scheduler
    plant.database.close()


async def test_no_functions_timeout_passes_while_functions_are_debugged(debugged: tuple[Plant, Asked]) -> None:
    plant, scheduler = debugged
    item = plant.submit()
    await scheduler.fetch(plant.task())
    await until(lambda: scheduler.asked >= 1, "the timeout was due")
    assert (item.state, plant.orders.stopped) == ("running", [])
    scheduler.patient = False
    await until(lambda: item.state == "done", "it passes again")
    assert _statuses(item.call) == [pb.GenericResult.GENERIC_STATUS_TIMEOUT]


async def test_no_limit_of_a_containers_start_passes_while_functions_are_debugged(
    debugged: tuple[Plant, Asked],
) -> None:
    plant, scheduler = debugged
    plant.submit()
    await until(lambda: scheduler.asked >= 1, "the limit was due")
    assert plant.orders.stopped == []
    scheduler.patient = False
    await until(lambda: plant.orders.stopped == plant.orders.started, "it passes again")


def _statuses(call: Call) -> list[int]:
    return [output.result.status for output in call.outputs.values()]
