"""Conditional writes under concurrency: in process, where threads change every few instructions, and over HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.parity.r2.conftest import BUCKET, SETTINGS, StandIn
from tests.parity.r2.lab import Lab, lab
from tests.parity.r2.stores import STORES, available

from parity.r2.conditions import write_check
from parity.r2.content import Content
from parity.r2.errors import R2Error
from parity.r2.rules import Rulebook
from parity.r2.settings import R2Settings
from parity.r2.store.interface import Attributes, Check, ObjectInfo
from parity.r2.store.moto import MotoStore

WRITERS, ROUNDS = 16, 50


@pytest.fixture
def short_switch_interval() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def _race(attempt: Any, rounds: int = ROUNDS) -> list[int]:
    """How many of the writers won each round. ``attempt(round, writer)`` tells whether it won."""
    winners: list[int] = []
    barrier = threading.Barrier(WRITERS)

    def run(number: int, writer: int) -> bool:
        barrier.wait(120)
        return bool(attempt(number, writer))

    with ThreadPoolExecutor(WRITERS) as pool:
        for number in range(rounds):
            winners.append(sum(pool.map(run, [number] * WRITERS, range(WRITERS))))
    return winners


def _put(store: MotoStore, key: str, writer: int, check: Check) -> bool:
    data = str(writer).encode()
    info = ObjectInfo(key, len(data), f"{writer:032}", time.time(), Attributes())
    try:
        store.put_now(BUCKET, info, Content.of(data), check)
    except R2Error as error:
        if error.code != "PreconditionFailed":
            raise
        return False
    return True


@pytest.mark.usefixtures("short_switch_interval")
def test_of_sixteen_threads_that_create_a_key_one_wins_each_round() -> None:
    store = MotoStore()
    store.create_bucket_now(BUCKET, 0)
    check = write_check({"if-none-match": "*"}, Rulebook())
    assert _race(lambda number, writer: _put(store, f"k{number}", writer, check)) == [1] * ROUNDS


@pytest.mark.usefixtures("short_switch_interval")
def test_of_sixteen_threads_that_swap_a_key_one_wins_each_round() -> None:
    store = MotoStore()
    store.create_bucket_now(BUCKET, 0)
    first = ObjectInfo("k", 0, "first", 0, Attributes())

    def attempt(number: int, writer: int) -> bool:
        key = f"k{number}"
        return _put(store, key, writer, write_check({"if-match": '"first"'}, Rulebook()))

    for number in range(ROUNDS):
        store.put_now(BUCKET, replace(first, key=f"k{number}"), Content.of(b""))
    assert _race(attempt) == [1] * ROUNDS


class _NoLock:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


@pytest.mark.usefixtures("short_switch_interval")
def test_the_race_notices_a_store_that_checks_without_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MotoStore()
    store.create_bucket_now(BUCKET, 0)
    monkeypatch.setattr(store, "_lock", lambda *_: _NoLock())
    check, all_checked = write_check({"if-none-match": "*"}, Rulebook()), threading.Barrier(WRITERS)

    def slow_check(found: ObjectInfo | None) -> None:
        check(found)
        # No thread writes before all have checked, which the lock would not let happen.
        all_checked.wait(120)

    assert _race(lambda number, writer: _put(store, f"k{number}", writer, slow_check), 1) == [WRITERS]


@pytest.mark.usefixtures("short_switch_interval")
def test_readers_see_whole_versions_while_a_key_is_overwritten() -> None:
    store = MotoStore()
    store.create_bucket_now(BUCKET, 0)
    _put(store, "k", 0, lambda _: None)
    stop = threading.Event()

    def write() -> None:
        writer = 0
        while not stop.is_set():
            writer = (writer + 1) % 10
            _put(store, "k", writer, lambda _: None)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(3000):
            info, content = store.get_now(BUCKET, "k")
            assert f"{int(content.read()):032}" == info.etag
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("store", STORES)
async def test_of_sixteen_requests_that_create_a_key_one_wins_each_round(store: str) -> None:
    with available(store) as upstream:
        await _race_over_a_key(replace(SETTINGS, upstream=upstream), 10 if upstream else ROUNDS)


async def _race_over_a_key(settings: R2Settings, rounds: int) -> None:
    async with lab(settings) as ask:
        # Without rule 1, whose 429 would hide what is asked here.
        await ask.service.reset()
        ask.without(1)
        for number in range(rounds):
            answers = await asyncio.gather(
                *(
                    ask("PUT", f"/{BUCKET}/k{number}", headers={"if-none-match": "*"}, body=b"%d" % writer)
                    for writer in range(WRITERS)
                )
            )
            assert sorted(answer.status for answer in answers) == [200] + [412] * (WRITERS - 1)
            winner = next(writer for writer, answer in enumerate(answers) if answer.status == 200)
            assert (await ask("GET", f"/{BUCKET}/k{number}")).body == b"%d" % winner


# Of different lengths, each longer than a block of a body and than the range that is read.
VERSIONS = [bytes([65 + number]) * (300_000 + number) for number in range(8)]
BY_ETAG = {f'"{hashlib.md5(body).hexdigest()}"': body for body in VERSIONS}


@asynccontextmanager
async def _overwriting(store: str) -> AsyncIterator[Lab]:
    """A stand-in where one writer puts version after version into the key ``k``."""
    with available(store) as upstream:
        async with lab(replace(SETTINGS, upstream=upstream)) as ask:
            await ask.service.reset()
            ask.without(1)
            await ask("PUT", body=VERSIONS[0])
            wanted = True

            async def write() -> None:
                turn = 0
                while wanted:
                    turn += 1
                    assert (await ask("PUT", body=VERSIONS[turn % len(VERSIONS)])).status == 200

            writer = asyncio.create_task(write())
            try:
                yield ask
            finally:
                wanted = False
                await writer


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("span", [None, (70_000, 199_999)])
async def test_readers_get_bytes_of_the_version_whose_etag_they_are_told(
    store: str, span: tuple[int, int] | None
) -> None:
    first, end = (0, None) if span is None else (span[0], span[1] + 1)
    headers = {} if span is None else {"range": f"bytes={span[0]}-{span[1]}"}

    async def read(ask: Lab) -> None:
        times, seen = 0, set[str]()
        while times < 40 or len(seen) < 3:
            answer = await ask("GET", headers=headers)
            body = BY_ETAG[answer.etag]
            assert answer.body == body[first:end]
            if span is not None:
                assert answer.headers["content-range"].endswith(f"/{len(body)}")
            times += 1
            seen.add(answer.etag)
            await asyncio.sleep(0)

    async with _overwriting(store) as ask:
        await asyncio.gather(*(read(ask) for _ in range(4)))


@pytest.mark.parametrize("store", STORES)
async def test_a_copy_is_of_the_version_that_its_condition_names(store: str) -> None:
    copied, dice = 0, random.Random(1)
    async with _overwriting(store) as ask:
        while copied < 3:
            # Any version: the one that was there a moment ago is overwritten before the copy has its turn.
            etag = dice.choice(list(BY_ETAG))
            headers = {"x-amz-copy-source": f"{BUCKET}/k", "x-amz-copy-source-if-match": etag}
            answer = await ask("PUT", f"/{BUCKET}/copy", headers=headers)
            assert answer.status in (200, 412)
            if answer.status == 200:
                copied += 1
                copy = await ask("GET", f"/{BUCKET}/copy")
                assert (copy.etag, copy.body) == (etag, BY_ETAG[etag])
            await asyncio.sleep(0)


def test_over_tls_one_of_sixteen_creators_wins_each_round_and_the_others_hear_412_or_429(r2: StandIn) -> None:
    clients = [r2.client() for _ in range(WRITERS)]
    codes: set[str] = set()

    def attempt(number: int, writer: int) -> bool:
        try:
            clients[writer].put_object(Bucket=BUCKET, Key=f"k{number}", Body=b"%d" % writer, IfNoneMatch="*")
        except ClientError as error:
            codes.add(error.response["Error"]["Code"])
            return False
        return True

    assert _race(attempt) == [1] * ROUNDS
    assert codes <= {"PreconditionFailed", "TooManyRequests"}
