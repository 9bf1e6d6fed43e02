"""The SDK's operations, through real containers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import modal
import modal.exception
import pytest
from tests.parity.modal.support import Gate, Stack, until

pytestmark = pytest.mark.usefixtures("stack")

Lookup = Callable[[str], Any]


def test_remote_runs_the_deployed_function_in_another_process(function: Lookup) -> None:
    got = function("surroundings").remote()
    assert got["pid"] != os.getpid()
    assert got["local"] is False


def test_a_container_has_its_secrets_its_helper_modules_and_no_token(function: Lookup) -> None:
    got = function("surroundings").remote()
    assert (got["R2_BUCKET"], got["OWN"], got["label"]) == ("reel-ballers-users", "k123", "from the helper")
    assert got["MODAL_TOKEN_SECRET"] is None


async def test_remote_aio_and_async_functions_work_side_by_side(function: Lookup) -> None:
    arender = function("arender")
    assert await asyncio.gather(*(arender.remote.aio(n) for n in range(10))) == list(range(1, 11))


def test_a_spawned_call_is_found_again_by_its_id(function: Lookup) -> None:
    call_id = function("double").spawn(21).object_id
    again = modal.FunctionCall.from_id(call_id)
    assert again.get(timeout=60) == 42
    assert again.get(timeout=0) == 42, "a result stays until it expires"


def test_a_call_that_is_not_finished_times_out_and_can_be_asked_again(function: Lookup, gate: Gate) -> None:
    call = function("wait_for").spawn(str(gate.folder))
    with pytest.raises(TimeoutError):
        call.get(timeout=0)
    gate.open()
    gate.passed(call.get(timeout=60))


def test_a_generator_hands_over_every_item_in_order(function: Lookup) -> None:
    assert list(function("frames").remote_gen(3)) == [{"frame": 0}, {"frame": 1}, {"frame": 2}]


def test_map_keeps_the_order_of_its_inputs(function: Lookup) -> None:
    assert list(function("double").map(range(40))) == [2 * n for n in range(40)]


def test_a_payload_over_two_mebibytes_goes_both_ways(function: Lookup) -> None:
    data = os.urandom(3 * 1024 * 1024)
    assert function("echo").remote(data) == data


def test_two_clients_get_their_own_results_at_once(function: Lookup) -> None:
    """Another process beside this one, both with many calls in flight."""
    text = (
        "import asyncio, modal; f = modal.Function.from_name('reel-ballers-video', 'double')\n"
        "async def main(): return await asyncio.gather(*(f.remote.aio(n) for n in range(100, 130)))\n"
        "assert asyncio.run(main()) == [2 * n for n in range(100, 130)]"
    )
    other = subprocess.Popen([sys.executable, "-c", text])
    assert list(function("double").map(range(30))) == [2 * n for n in range(30)]
    assert other.wait(120) == 0


def test_a_payload_of_a_spawn_over_eight_kibibytes_goes_both_ways(function: Lookup) -> None:
    data = os.urandom(20_000)
    assert function("echo").spawn(data).get(timeout=60) == data


def test_an_exception_arrives_with_its_type_and_text(function: Lookup) -> None:
    with pytest.raises(ValueError, match="bad clip"):
        function("boom").remote()
    with pytest.raises(ValueError, match="bad clip"):
        function("boom").spawn().get(timeout=60)


def test_a_function_over_its_timeout_is_ended(function: Lookup) -> None:
    with pytest.raises(modal.exception.FunctionTimeoutError):
        function("too_slow").remote()


@pytest.mark.parametrize("way", ["remote", "spawn"])
def test_a_failing_function_is_tried_again_as_often_as_its_policy_says(function: Lookup, key: str, way: str) -> None:
    flaky = function("flaky")
    got = flaky.remote(key, 2) if way == "remote" else flaky.spawn(key, 2).get(timeout=60)
    assert got == 3


@pytest.mark.parametrize("way", ["remote", "spawn"])
def test_a_function_that_fails_more_often_than_its_policy_fails(
    function: Lookup, marks: Any, key: str, way: str
) -> None:
    flaky = function("flaky")
    run = flaky.remote if way == "remote" else lambda *given: flaky.spawn(*given).get(timeout=60)
    with pytest.raises(RuntimeError, match="attempt 3"):
        run(key, 9)
    assert marks[key] == 3


def test_a_cancelled_call_ends_in_its_container_and_for_its_caller(
    stack: Stack, function: Lookup, gate: Gate, key: str
) -> None:
    call = function("wait_for").spawn(str(gate.folder))
    pid = gate.entered()
    call.cancel()
    with pytest.raises(modal.exception.RemoteError):
        call.get(timeout=60)
    # The same container takes the next input, which it could not while it still waited.
    until(lambda: not any(each["inputs"] for each in stack.admin.get("/containers").json()))
    again = Gate(gate.folder / "again")
    again.folder.mkdir()
    again.open()
    again.passed(function("wait_for").remote(str(again.folder)))
    assert again.pid == pid


def test_a_container_that_dies_is_replaced_and_the_input_runs_again(function: Lookup, marks: Any, key: str) -> None:
    assert function("dies").remote(key, 1) == 2


def test_an_input_that_kills_every_container_ends_in_an_internal_failure(
    function: Lookup, marks: Any, key: str
) -> None:
    with pytest.raises(modal.exception.InternalFailure):
        function("dies").spawn(key, 99).get(timeout=60)
    assert marks[key] == 3


def test_a_class_is_bound_to_its_parameters(function: Lookup) -> None:
    model = modal.Cls.from_name("reel-ballers-video", "Model")
    assert model(size=7).predict.remote(1) == (700, 1)


def test_a_call_that_never_was_is_not_found() -> None:
    with pytest.raises(modal.exception.NotFoundError):
        modal.FunctionCall.from_id("fc-nope").get(timeout=0)


@pytest.mark.parametrize(("app", "name"), [("reel-ballers-video", "nope"), ("not-deployed", "double")])
def test_what_is_not_deployed_is_not_found(app: str, name: str) -> None:
    with pytest.raises(modal.exception.NotFoundError):
        modal.Function.from_name(app, name).remote()
