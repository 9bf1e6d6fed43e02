"""What an append proves about the end of the log, by the Machine's clocks and the store's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest

from app.replication.errors import Fenced, FileExists, Lost, Outdated, StoreError
from app.replication.layout import FileRef, transaction
from app.replication.log import DAY, Log, Moment, Options, must_look_up, read_is_fresh
from app.replication.session import as_sync_error
from app.replication.store import Listed, NewFile
from app.replication.tasks import Signal
from app.sync.interface import SyncConflict, SyncUnavailable


class Clocks:
    """Both clocks of a Machine, and the store's, which go on together."""

    def __init__(self) -> None:
        self.now = 1000.0

    def wall_ms(self) -> int:
        return int((1_800_000_000 + self.now) * 1000)

    @property
    def date(self) -> float:
        return 1_800_000_000 + self.now


class OneFile:
    """A store in which each create takes two seconds, and is applied after the first. ``there`` is the file that each
    create and each GET meets, ``newest`` what a list ends with. A create's clock is ``error`` seconds ahead."""

    def __init__(self, clocks: Clocks) -> None:
        self.clocks = clocks
        self.exists = False
        self.there: bytes | None = None
        self.newest = 0
        self.error = 0.0
        self.during: Callable[[], None] = lambda: None

    async def create(self, _file: NewFile) -> float:
        self.clocks.now += 1
        self.during()
        self.clocks.now += 1
        if self.exists:
            raise FileExists("taken")
        return self.clocks.date + self.error

    async def probe(self, _ref: FileRef) -> tuple[bytes | None, float]:
        return self.there, self.clocks.date

    async def recent(self, _early: Callable[[Sequence[FileRef]], None] | None = None) -> Listed:
        return Listed([transaction(self.newest)] if self.newest else [], self.clocks.date)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def store(clocks: Clocks) -> OneFile:
    return OneFile(clocks)


@pytest.fixture
async def log(store: OneFile, clocks: Clocks) -> Log:
    made = Log(store, 1, Options(read_check=0.0), Signal(), now=lambda: clocks.now, wall_ms=clocks.wall_ms)  # type: ignore[arg-type]
    made.verified = clocks.date
    return made


FILE = NewFile(transaction(7), b"own", 0)


async def test_an_append_proves_nothing_to_what_began_while_it_was_on_its_way(log: Log, store: OneFile) -> None:
    """Another Machine may have written behind the file before the answer came, and told its client so."""
    before, during = log.moment(), list[Moment]()
    store.during = lambda: during.append(log.moment())
    await log.append(FILE)
    assert log.is_fresh(before)
    assert log.checked_since(before)
    assert not log.is_fresh(during[0])
    assert not log.checked_since(during[0])


@pytest.mark.parametrize(
    ("there", "error"), [(b"own", None), (b"other", Fenced), (None, StoreError)], ids=["own", "another's", "gone"]
)
async def test_a_refused_append_is_a_success_only_where_its_own_bytes_are_there(
    log: Log, store: OneFile, there: bytes | None, error: type[Exception] | None
) -> None:
    store.exists, store.there = True, there
    if error is None:
        await log.append(FILE)
        assert [file.name for file in log.files] == [FILE.ref.name]
    else:
        with pytest.raises(error):
            await log.append(FILE)
        assert (log.files, log.checked) == ([], None)


@pytest.mark.parametrize(("days", "told"), [(14, SyncConflict), (15, SyncUnavailable)])
async def test_a_refusal_after_half_the_retention_does_not_say_that_nothing_was_kept(
    log: Log, store: OneFile, clocks: Clocks, days: int, told: type[Exception]
) -> None:
    """A try of long ago may have stored the file. A snapshot took it in, it was deleted, another came."""
    store.exists, store.there = True, b"other"
    clocks.now += days * DAY
    with pytest.raises(Fenced) as refused:
        await log.append(FILE)
    assert type(as_sync_error(Lost(refused.value), "")) is told


@pytest.mark.parametrize(("newest", "outdated"), [(7, False), (8, True)])
async def test_an_append_after_half_the_retention_counts_only_where_it_is_the_newest_file(
    log: Log, store: OneFile, clocks: Clocks, newest: int, outdated: bool
) -> None:
    store.newest = newest
    clocks.now += 15 * DAY
    if outdated:
        with pytest.raises(Outdated):
            await log.append(FILE)
        assert log.checked is None
    else:
        await log.append(FILE)
        assert log.verified == clocks.date


async def test_an_append_within_half_the_retention_asks_for_no_list(log: Log, store: OneFile, clocks: Clocks) -> None:
    store.newest = 99
    clocks.now += 14 * DAY
    await log.append(FILE)
    assert log.verified == clocks.date


async def test_a_clock_that_jumps_ahead_once_makes_a_writer_look_and_is_not_believed(
    log: Log, store: OneFile, clocks: Clocks
) -> None:
    """Believed, it would keep this writer from looking for as long as the clock was ahead."""
    store.newest, store.error = 7, 400 * DAY
    await log.append(FILE)
    assert log.verified == clocks.date


async def test_what_was_appended_is_remembered_with_its_size(log: Log) -> None:
    """A snapshot is due by the bytes behind the last one."""
    await log.append(FILE)
    assert [file.size for file in log.files] == [len(FILE.data)]


@pytest.mark.parametrize(
    ("read_check", "monotonic", "wall", "fresh"),
    [
        (1.0, 0.0, 0.0, True),
        (1.0, 0.9, 0.9, True),
        (1.0, 1.0, 0.9, False),
        (1.0, 0.9, 1.0, False),
        # A suspend, in which the one clock stood still; a clock that was set forward, and one that was set back.
        (1.0, 0.1, 3600.0, False),
        (1.0, 5.0, 0.1, False),
        (1.0, 0.1, -3600.0, False),
        # The look began with the read or behind it.
        (0.0, 0.0, 0.0, True),
        (0.0, -0.5, 3600.0, True),
        (0.0, 0.001, 0.001, False),
        (math.inf, 1e9, 1e9, True),
        (math.inf, 0.5, -60.0, True),
    ],
)
def test_a_look_counts_until_either_clock_says_that_the_interval_is_over(
    read_check: float, monotonic: float, wall: float, *, fresh: bool
) -> None:
    """``monotonic`` and ``wall``: how long before the read the look began, in seconds."""
    checked, started = Moment(1000.0, 50_000.0), Moment(1000.0 + monotonic, 50_000.0 + wall)
    assert read_is_fresh(checked, started, Options(read_check=read_check)) is fresh
    assert not read_is_fresh(None, started, Options(read_check=read_check))


@pytest.mark.parametrize(("days", "must"), [(0.0, False), (14.9, False), (15.0, True), (31.0, True)])
def test_who_verified_nothing_for_half_the_retention_must_look_up(days: float, *, must: bool) -> None:
    """Half: another Machine may be set to delete after half of the time that this one knows."""
    assert must_look_up(1000.0, 1000.0 + days * DAY, 30 * DAY) is must
    assert must_look_up(None, 1000.0, 30 * DAY)
