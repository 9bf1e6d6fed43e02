"""One Machine: what it decides by itself."""

from __future__ import annotations

import asyncio

import pytest
from tests.parity.fly.support import StartEdge

from parity.fly.machines.port import probe_pauses
from parity.fly.machines.state import State, WrongState


def test_the_tries_of_a_port_grow_apart_and_fill_the_window() -> None:
    pauses = probe_pauses(15, 8.0)
    assert len(pauses) == 15
    assert pauses == sorted(pauses)
    assert sum(pauses) == pytest.approx(8.0)
    assert pauses[0] < 0.1


async def test_a_machine_too_large_to_suspend_is_refused_and_goes_on(start_edge: StartEdge) -> None:
    edge = await start_edge(memory=4096)
    with pytest.raises(WrongState, match="more than 2048 MB"):
        await edge.machine.suspend()
    assert edge.machine.state is State.STARTED


async def test_operations_on_one_machine_wait_for_each_other(start_edge: StartEdge) -> None:
    machine = (await start_edge()).machine
    await asyncio.gather(machine.stop(), machine.start(), machine.stop(), machine.start())
    assert machine.state is State.STARTED


async def test_stopping_twice_is_stopping_once(start_edge: StartEdge) -> None:
    machine = (await start_edge()).machine
    await machine.stop()
    await machine.stop()
    assert [event.type for event in machine.life.events].count("stopped") == 1
