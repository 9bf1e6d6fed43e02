"""Bodies that are kept so that a request can be sent again."""

from __future__ import annotations

from parity.fly.edge.kept_body import BODY_LIMIT, Budget, KeptBody


def test_a_budget_refuses_what_does_not_fit_and_takes_it_once_there_is_room() -> None:
    budget = Budget(10)
    assert budget.take(8)
    assert not budget.take(3)
    budget.give(8)
    assert budget.take(10)


def test_a_body_above_the_limit_is_dropped_unless_it_was_not_sent_yet() -> None:
    sent, held = KeptBody(Budget()), KeptBody(Budget())
    for body, must_keep in ((sent, False), (held, True)):
        body.add(bytes(BODY_LIMIT), must_keep=must_keep)
        body.add(b"x", must_keep=must_keep)
    assert (sent.complete, sent.pieces()) == (False, [])
    assert (held.complete, held.size) == (True, BODY_LIMIT + 1)


def test_what_is_dropped_is_given_back_to_the_budget() -> None:
    budget = Budget(100)
    body = KeptBody(budget)
    body.add(bytes(100), must_keep=False)
    assert not budget.take(1)
    body.release()
    assert budget.take(100)
