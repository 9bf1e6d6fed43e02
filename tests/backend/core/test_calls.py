import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from app.jobs import steps
from app.profiles import registry
from app.storage.calls import Calls
from app.storage.interface import StorageUnavailable
from app.storage.retry import Policy, TryAgain

POLICY = Policy(3, 300.0, first=0.0)


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    made = Calls("test", 2)
    yield made
    made.close()


async def test_a_call_that_failed_is_tried_again(calls: Calls) -> None:
    tries: list[int] = []

    def send(attempt: int) -> str:
        tries.append(attempt)
        if attempt < 3:
            raise TryAgain("503")
        return "answer"

    assert await calls.run("PUT", send, POLICY) == "answer"
    assert tries == [1, 2, 3]


async def test_a_call_past_its_deadline_says_so_and_holds_its_thread_until_it_ends(calls: Calls) -> None:
    going_on, began = threading.Event(), list[int]()

    def hang(_: int) -> bool:
        began.append(1)
        return going_on.wait(120)

    # On a busy machine the deadline may pass before the thread has begun: then there is no work that holds one.
    async with asyncio.timeout(60):
        while len(began) < 2:
            late = [calls.run("PUT a", hang, Policy(1, 0.05)) for _ in range(2)]
            for found in await asyncio.gather(*late, return_exceptions=True):
                assert isinstance(found, StorageUnavailable)
                assert str(found) == "PUT a: no answer within 0.05 s"
    waiting = asyncio.ensure_future(calls.run("GET", lambda _: "answer", POLICY))
    await asyncio.wait((waiting,), timeout=0.1)
    assert not waiting.done()
    going_on.set()
    assert await waiting == "answer"


async def test_a_timeout_of_the_work_itself_is_not_taken_for_the_deadline(calls: Calls) -> None:
    def fail(_: int) -> None:
        raise TimeoutError("of the work")

    with pytest.raises(TimeoutError, match="of the work"):
        await calls.run("GET", fail, POLICY)


async def test_a_call_that_waits_for_its_next_try_holds_no_thread(calls: Calls) -> None:
    patient = Policy(2, 600.0, first=300.0)
    failed: list[int] = []

    def fail(attempt: int) -> None:
        failed.append(attempt)
        raise TryAgain("503")

    waiting = [asyncio.ensure_future(calls.run("GET", fail, patient)) for _ in range(4)]
    async with asyncio.timeout(60):
        while len(failed) < 4:  # noqa: ASYNC110 - threads begin when they begin
            await asyncio.sleep(0.001)
        assert await calls.run("GET", lambda _: "answer", POLICY) == "answer"
    assert not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_one_group_leaves_threads_to_the_others() -> None:
    calls, going_on = Calls("test", 4, fair=True), threading.Event()
    began: list[str] = []

    def hang(_: int) -> bool:
        began.append("slow")
        return going_on.wait(120)

    slow = [asyncio.ensure_future(calls.run("GET", hang, POLICY, "slow")) for _ in range(10)]
    async with asyncio.timeout(60):
        while len(began) < 2:  # noqa: ASYNC110 - threads begin when they begin
            await asyncio.sleep(0.001)
        for number in range(5):
            assert await calls.run("GET", lambda _: number, POLICY, "quick") == number  # noqa: B023
    assert len(began) == 2
    going_on.set()
    assert await asyncio.gather(*slow) == [True] * 10
    calls.close()


async def test_a_call_past_its_deadline_takes_a_slot_of_its_group_until_its_thread_ends() -> None:
    calls, going_on, began = Calls("test", 4, fair=True), threading.Event(), []

    def hang(_: int) -> bool:
        began.append(1)
        return going_on.wait(120)

    async def ask() -> None:
        late = [calls.run("GET", hang, Policy(1, 0.05), "slow") for _ in range(2)]
        assert all(isinstance(e, StorageUnavailable) for e in await asyncio.gather(*late, return_exceptions=True))

    # On a busy machine the deadline may pass before the thread has begun: then the slot is free again.
    async with asyncio.timeout(60):
        while len(began) < 2:
            await ask()
    for _ in range(2):
        await ask()
    assert len(began) == 2
    going_on.set()
    async with asyncio.timeout(60):
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
