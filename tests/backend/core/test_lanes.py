import asyncio

import pytest

from app.storage.lanes import Lanes


async def filled(lanes: Lanes, lane: str, most: int = 40) -> list["asyncio.Task[None]"]:
    """Calls that want room in a lane; as many as were let in are done."""
    tasks = [asyncio.ensure_future(lanes.enter(lane)) for _ in range(most)]
    await asyncio.sleep(0)
    return tasks


def within(tasks: list["asyncio.Task[None]"]) -> int:
    return sum(task.done() for task in tasks)


async def given_up(*groups: list["asyncio.Task[None]"]) -> None:
    tasks = [task for group in groups for task in group]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_each_lane_that_wants_all_leaves_half_of_the_rest_to_the_next() -> None:
    lanes = Lanes(32)
    groups = [await filled(lanes, name) for name in "abcdef"]
    assert [within(group) for group in groups] == [16, 8, 4, 2, 1, 1]
    await given_up(*groups)


async def test_room_that_is_given_back_goes_to_those_who_have_waited_as_far_as_they_may() -> None:
    lanes = Lanes(8)
    slow = await filled(lanes, "slow", 10)
    quick = await filled(lanes, "quick", 10)
    assert (within(slow), within(quick)) == (4, 2)
    for _ in range(4):
        lanes.leave("slow")
    await asyncio.sleep(0)
    assert (within(slow), within(quick)) == (7, 3)
    for _ in range(4):
        lanes.leave("quick")
    await asyncio.sleep(0)
    assert (within(slow), within(quick)) == (7, 7)
    await given_up(slow, quick)


@pytest.mark.parametrize("let_in", [False, True])
async def test_one_that_goes_away_while_it_waits_keeps_no_room(let_in: bool) -> None:
    lanes = Lanes(2)
    first, waiting = await filled(lanes, "a", 1), await filled(lanes, "a", 1)
    assert (within(first), within(waiting)) == (1, 0)
    if let_in:
        lanes.leave("a")
    await given_up(waiting)
    if not let_in:
        lanes.leave("a")
    assert (lanes._free, lanes._taken, lanes._waiting) == (2, {}, {})
