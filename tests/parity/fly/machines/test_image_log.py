"""Which images ran, over all starts of the stand-in."""

from __future__ import annotations

from pathlib import Path

import pytest

from parity.fly.machines.driver import Image
from parity.fly.machines.image_log import ImageLog

A, B, C = (Image(f"app@{name}", name) for name in ("a", "b", "c"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("parity.fly.machines.image_log.time.time", lambda: now[0])
    return now


def test_an_image_counts_when_it_ran_at_the_beginning_or_later(clock: list[float]) -> None:
    log = ImageLog()
    for now, machine, image in ((1, "m1", A), (2, "m2", B)):
        clock[0] = now
        log.started(machine, image)
    clock[0] = 3
    log.ended("m1")
    assert log.ran_since(0) == [A, B]
    assert log.ran_since(2.5) == [A, B]
    assert log.ran_since(3.5) == [B]
    clock[0] = 5
    log.started("m1", C)
    assert log.ran_since(3.5) == [B, C]


def test_a_new_stand_in_remembers_what_the_one_before_it_ran(tmp_path: Path, clock: list[float]) -> None:
    first = ImageLog(tmp_path)
    first.open()
    clock[0] = 1
    first.started("m1", A)
    second = ImageLog(tmp_path)
    clock[0] = 2
    second.open()
    clock[0] = 3
    second.started("m2", B)
    assert second.ran_since(1.5) == [A, B]
    assert second.ran_since(2.5) == [B]
