"""Faults that the admin API arms, as the SDK reports them; and what the admin API shows."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import modal
import modal.exception
import pytest
from modal_proto import api_pb2 as pb
from tests.parity.modal.support import Gate, Stack, until

Lookup = Callable[[str], Any]


def test_an_rpc_that_fails_once_is_repeated_by_the_sdk(stack: Stack, function: Lookup) -> None:
    armed = stack.arm(kind="rpc", target="FunctionMap", status="UNAVAILABLE")
    assert function("double").remote(3) == 6
    assert _fired(stack, armed) == 1


def test_an_rpc_that_always_fails_reaches_the_caller(stack: Stack, function: Lookup) -> None:
    stack.arm(kind="rpc", target="FunctionMap", status="RESOURCE_EXHAUSTED", times=-1)
    with pytest.raises(modal.exception.ResourceExhaustedError):
        function("double").remote(3)


def test_a_call_whose_answer_was_lost_runs_once(stack: Stack, function: Lookup, marks: Any, key: str) -> None:
    armed = stack.arm(kind="rpc", target="FunctionMap", status="RESET", when="after", times=2)
    assert function("flaky").spawn(key, 0).get(timeout=60) == 1
    assert _fired(stack, armed) == 2
    assert marks[key] == 1


def test_a_function_can_be_made_to_fail(stack: Stack, function: Lookup) -> None:
    stack.arm(kind="function", target="double", status="INTERNAL_FAILURE")
    with pytest.raises(modal.exception.InternalFailure):
        function("double").spawn(3).get(timeout=60)
    assert function("double").remote(3) == 6


def test_a_lost_output_never_arrives(stack: Stack, function: Lookup) -> None:
    stack.arm(kind="function", target="double", status="LOST")
    with pytest.raises(TimeoutError):
        function("double").spawn(3).get(timeout=0.5)


def test_a_result_can_come_with_other_fields_as_from_another_release(stack: Stack, function: Lookup) -> None:
    armed = stack.arm(kind="result", target="surroundings", fields={"label": None, "added_later": 1})
    changed = function("surroundings").spawn().get(timeout=60)
    assert changed["added_later"] == 1
    assert "label" not in changed
    assert "pid" in changed
    assert _fired(stack, armed) == 1
    assert "label" in function("surroundings").remote()


def test_a_result_that_is_no_plain_dict_meets_no_fault(stack: Stack, function: Lookup) -> None:
    armed = stack.arm(kind="result", target="*", fields={"*": None}, times=-1)
    assert function("double").remote(3) == 6
    assert _fired(stack, armed) == 0


def test_an_expired_output_is_said_to_be_expired(stack: Stack, function: Lookup) -> None:
    stack.arm(kind="function", target="double", status="EXPIRED")
    with pytest.raises(modal.exception.OutputExpiredError):
        function("double").spawn(3).get(timeout=60)


def test_a_container_can_be_killed_under_its_input(stack: Stack, function: Lookup, gate: Gate) -> None:
    armed = stack.arm(kind="container", target="wait_for", delay_s=1)
    call = function("wait_for").spawn(str(gate.folder))
    # A busy machine may need more than a second until the function runs in the container that is killed.
    until(lambda: _call(stack, call)["inputs"][0]["crashes"] == 1)
    assert _fired(stack, armed) == 1
    gate.open()
    gate.passed(call.get(timeout=60))


def test_a_worker_can_be_killed_and_comes_back(stack: Stack, function: Lookup, gate: Gate) -> None:
    call = function("wait_for").spawn(str(gate.folder))
    first = gate.entered()
    assert stack.arm(kind="worker")["fired"] == 1
    gate.entered(not_by=first)
    gate.open()
    gate.passed(call.get(timeout=60))


def test_a_blob_that_cannot_be_fetched_once_is_fetched_again(stack: Stack, function: Lookup) -> None:
    data = os.urandom(3 * 1024 * 1024)
    armed = stack.arm(kind="blob", target="PUT", status="503")
    assert function("echo").remote(data) == data
    assert _fired(stack, armed) == 1


def test_a_fault_that_never_fired_is_shown_when_it_is_cleared(stack: Stack) -> None:
    armed = stack.arm(kind="function", target="no-such-function", status="FAILURE")
    cleared = stack.admin.delete("/faults").json()
    assert [(fault["id"], fault["fired"]) for fault in cleared] == [(armed["id"], 0)]
    assert stack.admin.get("/faults").json() == []


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        ({"kind": "gremlin"}, "kind"),
        ({"kind": "rpc", "target": "FunctionFly", "status": "UNAVAILABLE"}, "FunctionFly"),
        ({"kind": "rpc", "target": "FunctionMap", "status": "TIRED"}, "TIRED"),
        ({"kind": "blob", "target": "GET", "status": "200"}, "status"),
        ({"kind": "worker", "delay_s": 1}, "delay_s"),
        ({"kind": "rpc", "target": "FunctionMap", "status": "UNAVAILABLE", "times": "many"}, "times"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_by_name(stack: Stack, fault: dict[str, Any], names: str) -> None:
    answer = stack.admin.post("/faults", json=fault)
    assert answer.status_code == 400
    assert names in answer.json()["detail"]
    assert stack.admin.get("/faults").json() == []


def test_a_wrong_token_is_refused(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    with modal.Client.from_credentials("ak-standin", "as-wrong") as client, pytest.raises(modal.exception.AuthError):
        modal.Function.from_name("reel-ballers-video", "double", client=client).remote(1)


async def test_an_rpc_that_is_not_served_says_so_and_is_listed(stack: Stack) -> None:
    client = await modal.Client.from_env.aio()
    with pytest.raises(modal.exception.Error, match="QueueGetOrCreate is not served"):
        await modal.Queue.from_name("q", create_if_missing=True).hydrate.aio(client)
    assert stack.admin.get("/rpcs").json()["unserved"]["QueueGetOrCreate"] >= 1


def test_the_admin_api_shows_what_is_deployed_and_what_ran(stack: Stack, function: Lookup) -> None:
    call = function("double").spawn(1)
    call.get(timeout=60)
    assert {"double", "echo", "Model.*"} <= {each["name"] for each in stack.app()["functions"]}
    assert _call(stack, call)["function"] == "double"
    assert _call(stack, call)["inputs"][0]["state"] == "done"
    served = stack.admin.get("/rpcs").json()["served"]
    assert set(served) < set(pb.DESCRIPTOR.services_by_name["ModalClient"].methods_by_name)


def _call(stack: Stack, call: Any) -> dict[str, Any]:
    (shown,) = [each for each in stack.admin.get("/calls").json() if each["id"] == call.object_id]
    return dict(shown)


def _fired(stack: Stack, armed: dict[str, Any]) -> int:
    (fault,) = [each for each in stack.admin.get("/faults").json() if each["id"] == armed["id"]]
    return int(fault["fired"])
