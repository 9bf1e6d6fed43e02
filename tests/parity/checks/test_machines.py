"""What the events of a Machine say of processes that ended by themselves."""

from __future__ import annotations

from typing import Any

import pytest

from parity.checks.machines import unwanted_end

MEMORY = "a process of it was killed for memory"


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ({"type": "started"}, ""),
        ({"type": "stopped", "exit_code": 0, "oom_killed": False}, ""),
        (
            {"type": "stopped", "exit_code": 3, "oom_killed": False, "crashed": True},
            "it ended by itself with exit code 3",
        ),
        ({"type": "stopped", "exit_code": 137, "oom_killed": True, "crashed": True}, MEMORY),
        # A child process: the Machine's own goes on, and is stopped later as asked.
        ({"type": "oom"}, MEMORY),
        ({"type": "stopped", "exit_code": 0, "oom_killed": True}, MEMORY),
    ],
)
def test_an_end_that_nobody_asked_for_is_told(event: dict[str, Any], why: str) -> None:
    assert unwanted_end([{"time": 5.0, "type": "started"}, {"time": 7.0, **event}]) == why


def test_an_end_before_that_time_is_not_told() -> None:
    assert unwanted_end([{"time": 5.0, "type": "oom"}], since=6.0) == ""
