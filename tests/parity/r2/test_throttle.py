"""Rule 1: the write window."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest
from tests.parity.r2.conftest import BUCKET, SETTINGS
from tests.parity.r2.lab import lab

from parity.r2.errors import R2Error
from parity.r2.latency import delay
from parity.r2.rules import Rulebook
from parity.r2.throttle import Throttle, WriteWindow


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _busy(throttle: Throttle, connection: int, key: str = "k") -> bool:
    try:
        throttle.begin("b", key, connection, Rulebook())
    except R2Error as error:
        return error.headers == {"Retry-After": "5"}
    throttle.end("b", key)
    return False


def test_a_write_in_flight_keeps_every_other_one_out() -> None:
    throttle = Throttle(WriteWindow(), Clock())
    throttle.begin("b", "k", 1, Rulebook())
    assert _busy(throttle, 1)
    assert _busy(throttle, 2)
    assert not _busy(throttle, 2, "other")
    throttle.end("b", "k")
    assert not _busy(throttle, 2)


def test_a_window_keeps_other_connections_out_until_it_is_over() -> None:
    clock = Clock()
    throttle = Throttle(WriteWindow(0.3, 1.4), clock, random.Random(1))
    assert not _busy(throttle, 1)
    assert _busy(throttle, 2)
    assert not _busy(throttle, 1), "the connection that had the answer knows that the write is over"
    clock.now += 1.41
    assert not _busy(throttle, 2)


def test_strict_lets_one_write_a_second_through_whoever_sends_it() -> None:
    clock = Clock()
    throttle = Throttle(WriteWindow.parse("strict"), clock)
    assert not _busy(throttle, 1)
    clock.now += 0.99
    assert _busy(throttle, 1)
    clock.now += 0.02
    assert not _busy(throttle, 1)


def test_windows_that_are_over_are_forgotten() -> None:
    clock = Clock()
    throttle = Throttle(WriteWindow(1, 1), clock)
    for number in range(1000):
        _busy(throttle, 1, str(number))
    clock.now += 20
    _busy(throttle, 1, "last")
    assert len(throttle._writes) == 1


@pytest.mark.parametrize("text", ["overlap", "strict", "0.3-1.4", "1-2"])
def test_a_window_is_written_as_it_is_read(text: str) -> None:
    assert str(WriteWindow.parse(text)) == text


@pytest.mark.parametrize("text", ["", "2-1", "fast", "-1-2", "0.3", "0-3601", "0-" + "9" * 400])
def test_a_window_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        WriteWindow.parse(text)


async def test_concurrent_writes_of_one_key_hear_429_and_the_winner_is_stored() -> None:
    async with lab(SETTINGS) as ask:
        answers = await asyncio.gather(
            *(ask("PUT", body=b"%d" % writer * 200_000, connection=writer) for writer in range(8))
        )
        assert sorted(answer.status for answer in answers) == [200] + [429] * 7
        refused = next(answer for answer in answers if answer.status == 429)
        assert (refused.code, refused.headers["retry-after"]) == ("TooManyRequests", "5")
        winner = next(number for number, answer in enumerate(answers) if answer.status == 200)
        assert (await ask("GET")).body == b"%d" % winner * 200_000
        assert ask.front.seen.total.statuses[429] == 7


async def test_a_write_that_failed_frees_its_key() -> None:
    async with lab(SETTINGS) as ask:
        assert (await ask("PUT", headers={"if-match": '"none"'}, body=b"x")).status == 412
        assert (await ask("PUT", f"/{BUCKET}/k", body=b"x", connection=2)).status == 200


def test_the_realistic_profile_has_r2s_medians_and_off_waits_for_nothing() -> None:
    chance = random.Random(1)
    puts = sorted(delay("realistic", "PutObject", chance) for _ in range(2001))
    gets = sorted(delay("realistic", "GetObject", chance) for _ in range(2001))
    assert 0.18 < puts[1000] < 0.22
    assert 0.054 < gets[1000] < 0.066
    assert delay("off", "PutObject", chance) == 0


async def test_latency_is_waited_for_while_the_write_counts_as_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parity.r2.latency.delay", lambda *_: 0.05)
    async with lab(replace(SETTINGS, behaviour=replace(SETTINGS.behaviour, latency="realistic"))) as ask:
        await ask("PUT", body=b"x")
        assert ask.front.seen.requests[-1].seconds >= 0.05
