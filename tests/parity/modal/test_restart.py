"""What a restart of the control plane or the loss of the worker leaves intact."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import modal
from tests.parity.modal.support import Gate, Stack, until

Lookup = Callable[[str], Any]


def _restart(stack: Stack, number: signal.Signals) -> None:
    stack.stop("serve", number)
    stack.start("serve")
    stack.wait_until_ready()


def test_a_call_that_runs_while_the_control_plane_is_killed_is_got_after_it(
    stack: Stack, function: Lookup, gate: Gate, marks: Any, key: str
) -> None:
    marks[key] = "kept"
    handle = function("wait_for")
    call_id = handle.spawn(str(gate.folder)).object_id
    pid = gate.entered()
    _restart(stack, signal.SIGKILL)
    gate.open()
    gate.passed(modal.FunctionCall.from_id(call_id).get(timeout=60))
    assert gate.pid == pid, "the container went on through the restart"
    assert marks[key] == "kept"
    # A handle from before the restart holds an id that is still the function's.
    gate.passed(handle.remote(str(gate.folder)))


def test_a_result_that_was_there_before_a_restart_is_there_after_it(stack: Stack, function: Lookup) -> None:
    call = function("double").spawn(4)
    assert call.get(timeout=60) == 8
    _restart(stack, signal.SIGTERM)
    assert modal.FunctionCall.from_id(call.object_id).get(timeout=60) == 8


def test_a_call_that_waits_for_a_container_starts_after_a_restart(stack: Stack, function: Lookup) -> None:
    stack.stop("worker")
    until(lambda: stack.admin.get("/healthz").status_code == 503)
    call_id = function("double").spawn(5).object_id
    stack.stop("serve", signal.SIGKILL)
    stack.start("serve")
    stack.start("worker")
    stack.wait_until_ready()
    assert modal.FunctionCall.from_id(call_id).get(timeout=60) == 10


def test_inputs_of_a_worker_that_is_lost_run_again_on_the_next(stack: Stack, function: Lookup, gate: Gate) -> None:
    call = function("wait_for").spawn(str(gate.folder))
    first = gate.entered()
    stack.stop("worker", signal.SIGKILL)
    until(lambda: not _alive(first))
    stack.start("worker")
    gate.entered(not_by=first)
    gate.open()
    gate.passed(call.get(timeout=60))


def test_no_container_outlives_a_worker_that_is_killed(stack: Stack, function: Lookup) -> None:
    pid = function("surroundings").remote()["pid"]
    assert _alive(pid)
    stack.stop("worker", signal.SIGKILL)
    until(lambda: not _alive(pid))
    stack.start("worker")
    stack.wait_until_ready()


def test_deploying_again_keeps_every_id(stack: Stack, function: Lookup) -> None:
    before = stack.app()
    stack.stop("worker")
    stack.start("worker")
    until(lambda: stack.app()["deployed_at"] > before["deployed_at"])
    stack.wait_until_ready()
    assert {f["name"]: f["id"] for f in stack.app()["functions"]} == {f["name"]: f["id"] for f in before["functions"]}


def _alive(pid: int) -> bool:
    """Whether the process runs. One that has ended may still be there as a zombie, until its new parent looks."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
