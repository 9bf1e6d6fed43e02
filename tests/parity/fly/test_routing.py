"""Which Machine a request goes to, which one is woken, which one is stopped."""

from __future__ import annotations

import pytest

from parity.fly.edge.wish import Wish
from parity.fly.routing import Decision, Phase, Use, View, Wait, decide, excess, least_loaded


def choose(
    *views: View, wish: Wish | None = None, soft: int = 2, hard: int | None = 4, autostart: bool = True
) -> Decision:
    return decide(views, wish or Wish(), soft=soft, hard=hard, autostart=autostart)


def ready(name: str, load: int = 0) -> View:
    return View(name, Phase.READY, load)


def test_the_least_loaded_ready_machine_is_used() -> None:
    assert choose(ready("a", 2), ready("b", 1)) == Decision(use="b")


@pytest.mark.parametrize(
    ("wish", "used"),
    [
        (Wish(), "a"),
        (Wish(force="b"), "b"),
        (Wish(prefer="b"), "b"),
        (Wish(excluded="a"), "b"),
    ],
)
def test_a_machine_of_a_check_gets_only_requests_that_ask_for_it(wish: Wish, used: str) -> None:
    assert choose(ready("a", 1), View("b", Phase.READY, 0, pooled=False), wish=wish) == Decision(use=used)


def test_a_machine_of_a_check_serves_where_it_is_the_only_one_and_spares_no_start() -> None:
    own = View("b", Phase.READY, 0, pooled=False)
    assert choose(own) == Decision(use="b")
    assert choose(View("a", Phase.ASLEEP, 0), own) == Decision(wake="a", wait=Wait.START)


def test_below_the_soft_limit_no_other_machine_is_woken() -> None:
    assert choose(ready("a", 1), View("b", Phase.ASLEEP, 0)) == Decision(use="a")


def test_at_the_soft_limit_another_machine_is_woken_while_this_one_serves() -> None:
    assert choose(ready("a", 2), View("b", Phase.ASLEEP, 0)) == Decision(use="a", wake="b")


def test_one_machine_is_woken_at_a_time() -> None:
    views = [ready("a", 2), View("b", Phase.STARTING, 0), View("c", Phase.ASLEEP, 0)]
    assert choose(*views) == Decision(use="a")


def test_at_the_hard_limit_a_request_waits_for_capacity() -> None:
    assert choose(ready("a", 4)) == Decision(wait=Wait.CAPACITY)


def test_without_a_hard_limit_nothing_waits() -> None:
    assert choose(ready("a", 10_000), hard=None) == Decision(use="a")


def test_a_sleeping_app_wakes_its_suspended_machine_first() -> None:
    views = [View("a", Phase.ASLEEP, 0), View("b", Phase.ASLEEP, 0, suspended=True)]
    assert choose(*views) == Decision(wake="b", wait=Wait.START)


def test_a_silent_machine_is_tried_again() -> None:
    assert choose(View("a", Phase.SILENT, 0)) == Decision(wake="a", wait=Wait.START)


def test_without_autostart_a_sleeping_app_is_503() -> None:
    decision = choose(View("a", Phase.ASLEEP, 0), autostart=False)
    assert decision.refuse is not None
    assert decision.refuse[0] == 503


def test_a_machine_that_fails_its_checks_gets_nothing_and_is_not_woken() -> None:
    decision = choose(View("a", Phase.FAILING, 0))
    assert decision.refuse is not None
    assert (decision.refuse[0], decision.wake) == (503, None)


def test_a_request_waits_for_a_machine_that_is_stopping() -> None:
    assert choose(View("a", Phase.LEAVING, 0)) == Decision(wait=Wait.START)


def test_a_forced_instance_is_used_even_when_another_is_idle() -> None:
    assert choose(ready("a", 3), ready("b"), wish=Wish(force="a")).use == "a"


def test_a_forced_instance_that_does_not_exist_is_502() -> None:
    decision = choose(ready("a"), wish=Wish(force="z"))
    assert decision.refuse is not None
    assert decision.refuse[0] == 502


def test_a_preferred_instance_gives_way_at_its_hard_limit() -> None:
    assert choose(ready("a", 4), ready("b"), wish=Wish(prefer="a")).use == "b"


def test_an_excluded_instance_is_not_used() -> None:
    assert choose(ready("a"), ready("b", 1), wish=Wish(excluded="a")).use == "b"


def test_one_machine_alone_stops_only_at_zero_load_and_unused() -> None:
    assert excess([Use("a", 0, used=False)], soft=10, minimum=0) == "a"
    assert excess([Use("a", 0, used=True)], soft=10, minimum=0) is None
    assert excess([Use("a", 1, used=False)], soft=10, minimum=0) is None


def test_min_machines_running_are_kept() -> None:
    assert excess([Use("a", 0, used=False)], soft=10, minimum=1) is None


@pytest.mark.parametrize(
    ("loads", "stops"),
    [
        ({"a": 9, "b": 0}, {"b"}),
        ({"a": 9, "b": 3}, {"b"}),  # whatever their load
        ({"a": 11, "b": 0}, set()),  # 2 - (1 + 1) = 0
        ({"a": 10, "b": 10}, {"a", "b"}),  # at the soft limit is not over it
        ({"a": 11, "b": 4, "c": 5}, {"b"}),
        ({"a": 11, "b": 12, "c": 0}, set()),
    ],
)
def test_of_several_one_stops_by_flys_formula(loads: dict[str, int], stops: set[str]) -> None:
    machines = [Use(name, load, used=True) for name, load in loads.items()]
    chosen = excess(machines, soft=10, minimum=0)
    assert chosen in stops if stops else chosen is None


def test_ties_are_broken_at_random() -> None:
    views = [View(name, Phase.READY, 1) for name in "abc"] + [View("busy", Phase.READY, 2)]
    assert {least_loaded(views).id for _ in range(200)} == {"a", "b", "c"}
