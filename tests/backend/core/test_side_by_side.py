import asyncio

from app import side_by_side


async def test_results_come_in_the_order_of_the_things_and_no_more_run_at_a_time_than_allowed() -> None:
    running, most = 0, 0

    async def work(thing: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        # The first ones take the most turns of the loop.
        for _ in range(10 - thing):
            await asyncio.sleep(0)
        running -= 1
        return thing * 2

    assert await side_by_side.each(work, range(10), 3) == [thing * 2 for thing in range(10)]
    assert most == 3
