import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from app.jobs import steps
from app.profiles import registry
from app.storage.calls import Calls
from app.storage.interface import StorageUnavailable
from app.storage.retry import Policy, TryAgain

POLICY = Policy(3, 5.0, first=0.0)


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    made = Calls("test", 2)
    yield made
    made.close()


class Told:
    """Counts calls, and lets a test wait for the first."""

    def __init__(self) -> None:
        self.times = 0
        self.first = asyncio.Event()

    def __call__(self) -> None:
        self.times += 1
        self.first.set()


def unsent(_: object, __: int) -> object:
    raise AssertionError("nothing was to be sent")


async def test_what_is_made_is_sent_by_the_thread_that_made_it(calls: Calls) -> None:
    told, threads = Told(), []

    def make() -> str:
        threads.append(threading.get_ident())
        return "made"

    def send(what: str, attempt: int) -> tuple[str, int]:
        threads.append(threading.get_ident())
        return what, attempt

    assert await calls.run_made("PUT", make, send, lambda _: POLICY, told) == ("made", 1)
    assert told.times == 1
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


async def test_nothing_is_sent_where_nothing_is_made(calls: Calls) -> None:
    told = Told()
    found: object = await calls.run_made("PUT", lambda: None, unsent, lambda _: POLICY, told)
    assert found is None
    assert told.times == 1


async def test_an_error_of_making_reaches_the_caller_and_nothing_is_sent(calls: Calls) -> None:
    told = Told()

    def make() -> str:
        raise KeyError("row")

    with pytest.raises(KeyError, match="row"):
        await calls.run_made("PUT", make, unsent, lambda _: POLICY, told)
    assert told.times == 1


async def test_it_is_told_while_the_call_hangs_that_making_has_ended(calls: Calls) -> None:
    told, answered = Told(), threading.Event()
    task = asyncio.ensure_future(
        calls.run_made("PUT", lambda: "made", lambda *_: answered.wait(30), lambda _: POLICY, told)
    )
    async with asyncio.timeout(10):
        await told.first.wait()
    assert not task.done()
    answered.set()
    assert await task is True
    assert told.times == 1


async def test_making_has_no_deadline_and_the_call_has(calls: Calls) -> None:
    told, going_on, answered = Told(), threading.Event(), threading.Event()
    quick = Policy(1, 0.05)
    task = asyncio.ensure_future(
        calls.run_made("PUT a", lambda: going_on.wait(30), lambda *_: answered.wait(30), lambda _: quick, told)
    )
    done, _ = await asyncio.wait((task,), timeout=0.3)
    assert (done, told.times) == (set(), 0)
    going_on.set()
    with pytest.raises(StorageUnavailable, match=r"PUT a: no answer within 0.05 s"):
        await task
    assert told.times == 1
    answered.set()


async def test_a_call_that_failed_is_tried_again_without_making_anew(calls: Calls) -> None:
    made, tries = [], []

    def make() -> str:
        made.append(1)
        return "made"

    def send(what: str, attempt: int) -> str:
        tries.append(attempt)
        if attempt < 3:
            raise TryAgain("503")
        return what

    assert await calls.run_made("PUT", make, send, lambda _: POLICY, Told()) == "made"
    assert (made, tries) == ([1], [1, 2, 3])


async def test_there_is_no_room_while_every_thread_works(calls: Calls) -> None:
    going_on = threading.Event()
    assert calls.has_room()
    tasks = [asyncio.ensure_future(calls.run("GET", lambda _: going_on.wait(30), POLICY)) for _ in range(2)]
    await asyncio.sleep(0)
    assert not calls.has_room()
    going_on.set()
    assert await asyncio.gather(*tasks) == [True, True]
    assert calls.has_room()


async def test_a_call_past_its_deadline_takes_room_until_its_thread_ends(calls: Calls) -> None:
    going_on = threading.Event()
    late = [calls.run("GET", lambda _: going_on.wait(30), Policy(1, 0.01)) for _ in range(2)]
    found = await asyncio.gather(*late, return_exceptions=True)
    assert all(isinstance(error, StorageUnavailable) for error in found)
    assert not calls.has_room()
    going_on.set()
    async with asyncio.timeout(10):
        while not calls.has_room():  # noqa: ASYNC110 - threads end when they end
            await asyncio.sleep(0.001)


async def test_a_call_that_waits_for_its_next_try_holds_no_thread(calls: Calls) -> None:
    patient = Policy(2, 60.0, first=30.0)
    failed: list[int] = []

    def fail(attempt: int) -> None:
        failed.append(attempt)
        raise TryAgain("503")

    waiting = [asyncio.ensure_future(calls.run("GET", fail, patient)) for _ in range(4)]
    async with asyncio.timeout(10):
        while len(failed) < 4:  # noqa: ASYNC110 - threads begin when they begin
            await asyncio.sleep(0.001)
        assert await calls.run("GET", lambda _: "answer", POLICY) == "answer"
    assert not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_one_lane_leaves_threads_to_the_others() -> None:
    calls, going_on = Calls("test", 4, shared=True), threading.Event()
    began: list[str] = []

    def hang(_: int) -> bool:
        began.append("slow")
        return going_on.wait(30)

    slow = [asyncio.ensure_future(calls.run("GET", hang, POLICY, "slow")) for _ in range(10)]
    async with asyncio.timeout(10):
        while len(began) < 2:  # noqa: ASYNC110 - threads begin when they begin
            await asyncio.sleep(0.001)
        for number in range(5):
            assert await calls.run("GET", lambda _: number, POLICY, "quick") == number  # noqa: B023
    assert (len(began), calls.has_room()) == (2, True)
    going_on.set()
    assert await asyncio.gather(*slow) == [True] * 10
    calls.close()


async def test_a_call_past_its_deadline_takes_room_in_its_lane_until_its_thread_ends() -> None:
    calls, going_on, began = Calls("test", 4, shared=True), threading.Event(), []

    def hang(_: int) -> bool:
        began.append(1)
        return going_on.wait(30)

    for _ in range(3):
        late = [calls.run("GET", hang, Policy(1, 0.05), "slow") for _ in range(2)]
        assert all(isinstance(e, StorageUnavailable) for e in await asyncio.gather(*late, return_exceptions=True))
    assert len(began) == 2
    going_on.set()
    async with asyncio.timeout(10):
        assert await calls.run("GET", lambda _: "answer", POLICY, "slow") == "answer"
    calls.close()


def test_the_wait_for_the_next_try_doubles_and_ends_with_tries_and_time() -> None:
    policy = Policy(4, 10.0, first=1.0, longest=3.0, jitter=lambda _, most: most)
    assert list(policy.waits()) == [1.0, 2.0, 3.0]
    assert policy.wait(2, TryAgain("503"), 10.0) == 2.0
    assert policy.wait(1, TryAgain("429", 5.0), 10.0) == 5.5
    for attempt, left in ((4, 10.0), (2, 2.0)):
        with pytest.raises(StorageUnavailable, match=f"503 \\(tried {attempt} times\\)"):
            policy.wait(attempt, TryAgain("503"), left)


def test_jobs_and_the_list_of_profiles_wait_by_the_same_policy_each_time_otherwise() -> None:
    for policy, least, most in ((steps.RETRY, 13, 28), (registry._RETRY, 3, 7)):
        one, other = list(policy.waits()), list(policy.waits())
        assert one != other
        assert least < sum(one) < most
