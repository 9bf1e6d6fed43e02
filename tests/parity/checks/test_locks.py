"""The stack's lock between threads, which stand for processes here: each opens the files anew."""

from __future__ import annotations

import contextlib
import fcntl
import threading
import time
from pathlib import Path

from parity.checks.locks import stack_lock, wait_for_room
from parity.contract import Rate

LONG_S = 120.0


def test_those_who_share_hold_it_at_once(tmp_path: Path) -> None:
    both = threading.Barrier(2)

    def share() -> None:
        with stack_lock(tmp_path, alone=False):
            both.wait(LONG_S)  # broken, when one waits for the other

    threads = [threading.Thread(target=share) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
    assert not both.broken


def test_one_alone_waits_for_those_who_share_and_is_not_overtaken(tmp_path: Path) -> None:
    order: list[str] = []
    waits, may_end = threading.Event(), threading.Event()

    def share_first() -> None:
        with stack_lock(tmp_path, alone=False):
            waits.set()
            may_end.wait(LONG_S)
            order.append("shared")

    def alone() -> None:
        with stack_lock(tmp_path, alone=True):
            order.append("alone")

    def share_later() -> None:
        with stack_lock(tmp_path, alone=False):
            order.append("later")

    first = threading.Thread(target=share_first)
    first.start()
    assert waits.wait(LONG_S)
    second = threading.Thread(target=alone)
    second.start()
    wait_until_taken(tmp_path / "stack.turn")
    third = threading.Thread(target=share_later)
    third.start()
    may_end.set()
    for thread in (first, second, third):
        thread.join(LONG_S)
    assert order == ["shared", "alone", "later"]


def wait_until_taken(file: Path) -> None:
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        with file.open("w") as probe:
            try:
                fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
        time.sleep(0.005)
    raise AssertionError(f"nobody takes {file}")


def test_people_are_made_no_faster_than_the_contract_says(tmp_path: Path) -> None:
    waited: list[float] = []

    class Stop(Exception): ...

    def wait(seconds: float) -> None:
        waited.append(seconds)
        raise Stop

    rate = Rate(2, per_s=3600)
    wait_for_room(tmp_path, rate, wait)
    wait_for_room(tmp_path, rate, wait)
    with contextlib.suppress(Stop):
        wait_for_room(tmp_path, rate, wait)
    assert len(waited) == 1
    assert 3000 < waited[0] <= 3600


def test_a_file_that_a_killed_run_left_half_written_counts_nobody(tmp_path: Path) -> None:
    (tmp_path / "people.json").write_text('[1.0, "')
    wait_for_room(tmp_path, Rate(1, per_s=60), lambda _: None)
    assert (tmp_path / "people.json").read_text().startswith("[")
