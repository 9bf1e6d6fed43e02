"""``[[restart]]``."""

from __future__ import annotations

from parity.fly.machines.restart import WINDOW_S, RestartPolicy


def test_on_failure_restarts_what_failed_and_leaves_what_ended_well() -> None:
    policy = RestartPolicy("on-failure", 10)
    assert policy.restart(1, now=0)
    assert not policy.restart(0, now=0)


def test_always_restarts_what_ended_well_too_and_never_nothing() -> None:
    assert RestartPolicy("always", 10).restart(0, now=0)
    assert not RestartPolicy("never", 10).restart(1, now=0)


def test_after_ten_restarts_in_five_minutes_it_stays_stopped() -> None:
    policy = RestartPolicy("on-failure", 10)
    assert [policy.restart(1, now=n) for n in range(11)] == [True] * 10 + [False]


def test_old_restarts_are_forgotten() -> None:
    policy = RestartPolicy("on-failure", 1)
    assert policy.restart(1, now=0)
    assert policy.restart(1, now=WINDOW_S + 1)
