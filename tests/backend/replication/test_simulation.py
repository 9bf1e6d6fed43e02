"""The protocol under simulated trouble: what must hold holds, and each broken variant is noticed."""

import asyncio
import logging
from collections import Counter

import pytest
from tests.backend.replication.simulation.loop import Deadlock, VirtualLoop
from tests.backend.replication.simulation.scenario import Scenario
from tests.backend.replication.simulation.variants import VARIANTS, Variant

from app.replication.copy import Ticket
from app.replication.replica import Replica

_SEEDS = 150
# A look that met an upload of its own; a file of its own that was deleted before its answer was read, 33 days later; a
# fence that was created further ahead, and whose answer was lost; a list that a suspended Machine received too late,
# beside a list of the same Machine that was new.
_FOUND = (7000704, 20009916, 1795835432, 8800055)
# A Machine that stopped in order, whose release the fence of a deletion refused: the fence is no file of that Machine.
_FOUND_WITH_UPGRADE = (1796401264,)
_LEAST = {
    "acknowledged": 3500,
    "refused": 1400,
    "stopped late": 10,
    "counted": 550,
    "counters of two": 60,
    "merges": 800,
    "snapshots": 1300,
    "shrinks": 40,
    "imports": 25,
    "deletions": 500,
    "creations": 60,
    "deletions over": 20,
    "deletions at once": 10,
    "creations amid a deletion": 4,
    "refused as deleted": 500,
    "take-overs by two": 6,
    "clocks set": 90,
    "disks that fail": 100,
    "routed": 300,
    "releases": 80,
    "caught up to a position": 25,
}
# As many as it takes: the rarest variant is caught by one seed in thirty.
_VARIANT_SEEDS = range(300)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("app.replication.maintenance").setLevel(logging.ERROR)


@pytest.mark.parametrize("start", range(0, _SEEDS, 50))
def test_no_acknowledged_write_is_lost_and_no_read_goes_back_in_time(start: int) -> None:
    for seed in range(start, start + 50):
        assert Scenario(seed).run().violations == [], f"make simulate FIRST={seed} SEEDS=1"


@pytest.mark.parametrize("start", range(0, _SEEDS, 50))
def test_no_one_misses_a_table_and_no_old_release_writes_into_a_newer_schema(start: int) -> None:
    for seed in range(start, start + 50):
        assert Scenario(seed, upgrade=True).run().violations == [], f"make simulate FIRST={seed} SEEDS=1 UPGRADE=1"


@pytest.mark.parametrize("seed", _FOUND)
def test_a_seed_that_found_a_mistake_once_finds_none(seed: int) -> None:
    assert Scenario(seed).run().violations == []


@pytest.mark.parametrize("seed", _FOUND_WITH_UPGRADE)
def test_a_seed_of_two_releases_that_found_a_mistake_once_finds_none(seed: int) -> None:
    assert Scenario(seed, upgrade=True).run().violations == []


def test_a_seed_is_replayed_exactly() -> None:
    assert Scenario(7).run().schedule == Scenario(7).run().schedule


def test_a_run_that_goes_on_without_a_pause_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    async def settle(self: Replica, ticket: Ticket) -> None:
        while not self.copy.kept(ticket):  # noqa: ASYNC110 - the mistake that must be noticed
            await asyncio.sleep(0)

    monkeypatch.setattr(Replica, "settle", settle)
    (violation,) = Scenario(1).run().violations
    assert "without a pause" in violation


def test_a_run_that_never_ends_is_broken_off() -> None:
    loop = VirtualLoop(longest=5.0)
    with pytest.raises(Deadlock, match="goes on after 5 s"):
        loop.run_until_complete(asyncio.sleep(10))
    loop.close()


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.__name__)
def test_a_broken_variant_is_caught(variant: Variant) -> None:
    def breaks(seed: int) -> bool:
        # Only what a client or the bucket shows counts: any other exception is a variant that broke in itself.
        with variant():
            return bool(Scenario(seed).run().violations)

    assert any(breaks(seed) for seed in _VARIANT_SEEDS)


def test_seeds_play_everything_that_can_happen_to_a_profile() -> None:
    """About half of what 300 seeds have: a simulation that does not play an event any more proves nothing of it."""
    counts = sum((Scenario(seed).run().counts for seed in range(300)), Counter[str]())
    assert not {what: (counts[what], least) for what, least in _LEAST.items() if counts[what] < least}
