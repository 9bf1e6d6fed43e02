import asyncio

import pytest

from app.storage.fair_limit import FairLimit


async def filled(limit: FairLimit, group: str, most: int = 40) -> list["asyncio.Task[None]"]:
    """Calls that want room in a group; as many as were let in are done."""
    tasks = [asyncio.ensure_future(limit.acquire(group)) for _ in range(most)]
    await asyncio.sleep(0)
    return tasks


def within(tasks: list["asyncio.Task[None]"]) -> int:
    return sum(task.done() for task in tasks)


async def given_up(*groups: list["asyncio.Task[None]"]) -> None:
    tasks = [task for group in groups for task in group]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_each_group_that_wants_all_leaves_half_of_the_rest_to_the_next() -> None:
    limit = FairLimit(32)
    groups = [await filled(limit, name) for name in "abcdef"]
    assert [within(group) for group in groups] == [16, 8, 4, 2, 1, 1]
    await given_up(*groups)


async def test_room_that_is_given_back_goes_to_those_who_have_waited_as_far_as_they_may() -> None:
    limit = FairLimit(8)
    slow = await filled(limit, "slow", 10)
    quick = await filled(limit, "quick", 10)
    assert (within(slow), within(quick)) == (4, 2)
    for _ in range(4):
        limit.release("slow")
    await asyncio.sleep(0)
    assert (within(slow), within(quick)) == (7, 3)
    for _ in range(4):
        limit.release("quick")
    await asyncio.sleep(0)
    assert (within(slow), within(quick)) == (7, 7)
    await given_up(slow, quick)


@pytest.mark.parametrize("let_in", [False, True])
async def test_one_that_goes_away_while_it_waits_keeps_no_room(let_in: bool) -> None:
    limit = FairLimit(2)
    first, waiting = await filled(limit, "a", 1), await filled(limit, "a", 1)
    assert (within(first), within(waiting)) == (1, 0)
    if let_in:
        limit.release("a")
    await given_up(waiting)
    if not let_in:
        limit.release("a")
    assert (limit._free, limit._taken, limit._waiting) == (2, {}, {})
