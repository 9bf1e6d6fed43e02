"""A Machine's states."""

from __future__ import annotations

import pytest

from parity.fly.machines.state import FOLLOWS, Lifecycle, State, WrongState


def life(state: State) -> Lifecycle:
    return Lifecycle(lambda: None, state)


@pytest.mark.parametrize("state", State)
def test_only_states_that_may_follow_do(state: State) -> None:
    for to in State:
        machine = life(state)
        if to in FOLLOWS[state]:
            machine.move(to)
            assert machine.state is to
        else:
            with pytest.raises(WrongState, match=f"is {state}: it cannot become {to}"):
                machine.move(to)
            assert machine.state is state


def test_nothing_follows_destroyed() -> None:
    assert FOLLOWS[State.DESTROYED] == frozenset()


def test_every_change_is_an_event_with_its_detail_and_is_told() -> None:
    told: list[State] = []
    machine = Lifecycle(lambda: told.append(machine.state))
    machine.move(State.STARTING)
    machine.move(State.STOPPED, exit_code=3)
    assert told == [State.STARTING, State.STOPPED]
    assert [(event.type, event.detail) for event in machine.events] == [("starting", {}), ("stopped", {"exit_code": 3})]
