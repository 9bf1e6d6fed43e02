"""A Machine that opens its port late is slow by itself, or its host is busy."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parity.checks.generic import own_time
from parity.checks.stack import Stack


class Machine:
    """It started 1,000 s ago, the edge gave up after 500 s, and its port opens when it is looked at ``opens`` times."""

    def __init__(self, opens: int, *, gave_up: bool) -> None:
        self.stack, self.opens, self.port = None, opens, "closed" if gave_up else "open"
        began = time.time() - 1000
        self.events: list[dict[str, Any]] = [
            {"time": 0.0, "type": "started"},
            {"time": 1.0, "type": "port", "open": False},
            {"time": began, "type": "started"},
            {"time": began + 500, "type": "port", "open": not gave_up},
        ]

    async def get(self, _machine: str) -> dict[str, Any]:
        self.opens -= 1
        if self.opens == 0:
            self.port = "open"
            self.events.append({"time": time.time(), "type": "port", "open": True})
        return {"state": "started", "port": self.port, "events": list(self.events)}


@pytest.mark.parametrize(
    ("opens", "gave_up", "waited_s", "is_the_host"),
    [
        (3, True, 990.0, True),
        (3, True, 1.0, False),  # it waits, or works, by itself
        (0, True, 0.0, False),
        (0, False, 0.0, False),
    ],
)
async def test_a_machine_that_had_no_cpu_is_not_slow(
    monkeypatch: pytest.MonkeyPatch, opens: int, gave_up: bool, waited_s: float, is_the_host: bool
) -> None:
    monkeypatch.setattr(own_time, "waited_for_cpu", lambda *_: waited_s)
    monkeypatch.setattr(own_time, "POLL_S", 0.0)
    machine = cast(Any, Machine(opens, gave_up=gave_up))
    assert await own_time.opened_in_its_own_time(machine, "m1") is is_the_host


def test_a_process_that_waits_for_a_cpu_is_known_by_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["1000000 2500000000 3\n", "1000000 500000000 3\n"]
    monkeypatch.setattr(own_time, "_of_processes", lambda _: lines)
    stack = cast(Stack, SimpleNamespace(target=SimpleNamespace(driver="process")))
    assert own_time.waited_for_cpu(stack, "m1") == 2.5
    lines.clear()
    assert own_time.waited_for_cpu(stack, "m1") == 0.0
