from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from parity.checks.model import Unobservable
from parity.checks.product import bursts, lost_answer, stopping, two_machines
from parity.checks.product.bursts import BurstObservation
from parity.checks.product.lost_answer import LostAnswerObservation
from parity.checks.product.stopping import StopObservation
from parity.checks.product.two_machines import FIRST, SECOND, RaceObservation, Sight, SightObservation
from parity.checks.product.writes import Listed, Write


def accepted(name: str, where: str = FIRST) -> Write:
    return Write(where, name, 201, "synced", "", "", 0.1)


def refused(name: str, where: str = SECOND) -> Write:
    return Write(where, name, 503, "conflict", "1", "", 0.1)


RACED = RaceObservation(
    writes=[accepted("a"), refused("b"), accepted("b", SECOND)],
    lists=[Listed(FIRST, ["a", "b"]), Listed(SECOND, ["b", "a"]), Listed("cold", ["a", "b"])],
    made={"early": 201, "late": 201},
    profiles=["p", "early", "late"],
)


def race(*writes: Write) -> RaceObservation:
    return replace(RACED, writes=[*RACED.writes, *writes])


def test_a_race_whose_loser_came_again_is_fine() -> None:
    assert two_machines.judge_race(RACED) == []


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (replace(RACED, lists=[*RACED.lists, Listed("cold", ["a"])]), "cold does not show 1 of 2 acknowledged"),
        (replace(RACED, lists=[Listed("cold", ["a", "a", "b"])]), "more than once: a"),
        (replace(RACED, lists=[Listed("cold", (), "503 damaged")]), "cannot list what was written: 503 damaged"),
        (replace(RACED, writes=[accepted("a"), accepted("b")]), "whoever writes last wins"),
        (replace(RACED, profiles=["p", "late"]), "the early one of two profiles made at once is listed 0 times"),
        (replace(RACED, made={"early": 503}), "the early one of two profiles made at once: 503"),
        (race(refused("never")), "nothing saves: 'never'"),
        (race(replace(refused("x"), retry_after="")), "Retry-After absent"),
        (race(replace(refused("x"), status=500, sync_status="")), "500"),
        (race(replace(accepted("a"), sync_status="pending")), "X-Sync-Status pending, not synced"),
    ],
)
def test_a_race_that_lost_something_is_caught(seen: RaceObservation, word: str) -> None:
    assert any(word in reason for reason in two_machines.judge_race(seen))


def test_a_race_in_which_nobody_was_held_up_proves_nothing_unless_something_was_lost() -> None:
    with pytest.raises(Unobservable, match=r"no PUT of profiles\.json was held up"):
        two_machines.certain(RACED, {"database/*": 1, "profiles.json": 0})
    assert two_machines.certain(RACED, {"database/*": 1, "profiles.json": 1}) is RACED
    lost = replace(RACED, profiles=["p", "late"])
    assert two_machines.certain(lost, {"profiles.json": 0}) is lost


def test_answers_of_one_kind_are_one_reason() -> None:
    wrong = [replace(refused(name), status=500) for name in "abc"]
    reasons = [reason for reason in two_machines.judge_race(race(*wrong)) if "500" in reason]
    assert len(reasons) == 1
    assert "(3 ×)" in reasons[0]


SEEN = Sight(SECOND, "old", "new", "new", 0.4, 4.0)
SAW = SightObservation([SEEN, replace(SEEN, reader=FIRST)], 200)


def test_machines_that_see_each_other_are_fine() -> None:
    assert two_machines.judge_sight(SAW) == []


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (replace(SAW, sights=[replace(SEEN, shown="old", seconds=None)]), "still shows 'old' 4 s after"),
        (replace(SAW, profile_status=404), "404 on the other"),
    ],
)
def test_a_machine_that_does_not_see_the_other_is_caught(seen: SightObservation, word: str) -> None:
    assert any(word in reason for reason in two_machines.judge_sight(seen))


HEALED = LostAnswerObservation(
    during=accepted("during"),
    after=[accepted("after")],
    shown=Listed("the Machine", ["during", "after"]),
    profile_status=201,
    profile_shown=1,
)
FAILED = Write("the Machine", "x", 503, "failed", "5", "", 0.1)


def test_a_lost_answer_that_is_known_as_ones_own_is_fine() -> None:
    assert lost_answer.judge(HEALED) == []


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (replace(HEALED, during=refused("during")), "stopped the write: 503 (X-Sync-Status conflict"),
        (replace(HEALED, after=[FAILED]), "201 for a write after it"),
        (replace(HEALED, shown=Listed("the Machine", ["after"])), "does not show 1 of 2"),
        (replace(HEALED, shown=Listed("the Machine", ["during", "during", "after"])), "more than once"),
        (replace(HEALED, profile_status=409), "409, 201 expected"),
        (replace(HEALED, profile_shown=2), "listed 2 times"),
    ],
)
def test_a_lost_answer_taken_for_a_conflict_is_caught(seen: LostAnswerObservation, word: str) -> None:
    assert any(word in reason for reason in lost_answer.judge(seen))


BURST = BurstObservation([accepted("a"), accepted("b")], {}, "complete", Listed("the Machine", ["a", "b"]))


def test_a_burst_that_is_kept_is_fine() -> None:
    assert bursts.judge(BURST) == []


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (replace(BURST, crowded={"u/database.sqlite": 7}), "429 7 × for u/database.sqlite"),
        (replace(BURST, writes=[*BURST.writes, FAILED]), "expected 201 (1 ×)"),
        (replace(BURST, writes=[replace(accepted("a"), seconds=26.0)]), "1 of 1 writes took over 10 s"),
        (replace(BURST, job="failed"), "beside the burst is failed"),
        (replace(BURST, shown=Listed("the Machine", ["a"])), "does not show 1 of 2"),
    ],
)
def test_a_burst_that_crowds_an_object_is_caught(seen: BurstObservation, word: str) -> None:
    assert any(word in reason for reason in bursts.judge(seen))


STOPPED = StopObservation([accepted("a"), FAILED], ["SIGINT"], {}, Listed("cold", ["a"]))


def test_a_stop_that_keeps_what_was_acknowledged_is_fine() -> None:
    assert stopping.judge(STOPPED) == []


def test_a_stop_without_an_upload_on_its_way_proves_nothing_unless_something_was_lost() -> None:
    with pytest.raises(Unobservable, match="none came to R2"):
        stopping.certain(STOPPED, 0)
    assert stopping.certain(STOPPED, 1) is STOPPED
    lost = replace(STOPPED, shown=Listed("cold", []))
    assert stopping.certain(lost, 0) is lost


def stopped_with(*writes: Write) -> Sequence[Write]:
    return [accepted("a"), *writes]


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (replace(STOPPED, shown=Listed("cold", [])), "does not show 1 of 1"),
        (replace(STOPPED, signals=["SIGINT", "SIGTERM"]), "it took SIGINT, SIGTERM"),
        (replace(STOPPED, signals=[]), "it took none"),
        (replace(STOPPED, crowded={"k": 1}), "429 1 × for k"),
        (replace(STOPPED, writes=[FAILED]), "no write that was inside"),
        (replace(STOPPED, writes=stopped_with(replace(FAILED, status=500))), "500"),
        (replace(STOPPED, writes=stopped_with(replace(FAILED, status=0, sync_status=""))), "no answer"),
        (replace(STOPPED, writes=stopped_with(replace(FAILED, status=502, sync_status=""))), "502"),
    ],
)
def test_a_stop_that_loses_or_cuts_off_is_caught(seen: StopObservation, word: str) -> None:
    assert any(word in reason for reason in stopping.judge(seen))
