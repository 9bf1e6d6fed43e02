import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import apsw
import pytest

from app.replication.errors import ForeignWriter
from app.replication.local import PAGE_SIZE, Image, LocalDatabase
from app.replication.ltx import Header, LtxFile, decode, encode


@pytest.fixture
def database(tmp_path: Path) -> LocalDatabase:
    made = LocalDatabase.build(tmp_path / "a" / "database.sqlite", [])
    made.write(lambda connection: connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, pad)"))
    made.mark_durable(0, made.seq)
    return made


def insert(*rows: int, pad: int = 300) -> Callable[[apsw.Connection], None]:
    def change(connection: apsw.Connection) -> None:
        for row in rows:
            connection.execute("INSERT INTO t VALUES (?, randomblob(?))", (row, pad))

    return change


def rows(database: LocalDatabase) -> list[int]:
    return database.read(lambda connection: [row for (row,) in connection.execute("SELECT id FROM t ORDER BY id")])[0]


def as_file(image: Image, txid: int) -> LtxFile:
    return decode(encode(Header(PAGE_SIZE, image.commit, txid, txid, 0, 0), image.pages))


def upload(database: LocalDatabase) -> LtxFile:
    """What is pending, as the file that makes it durable."""
    batch = database.take()
    assert batch is not None
    database.mark_durable(batch.txid, batch.seq)
    return decode(encode(Header(PAGE_SIZE, batch.commit, batch.txid, batch.txid, 0, 0), batch.pages))


def test_replayed_groups_are_the_live_database_page_for_page(database: LocalDatabase, tmp_path: Path) -> None:
    files = [as_file(database.image(), 1)]
    database.mark_durable(1, database.seq)
    for group in range(40):
        for commit in range(3):
            database.write(insert(group * 3 + commit, pad=2000))
        files.append(upload(database))
    database.write(lambda connection: connection.execute("DELETE FROM t WHERE id > 5"))
    files.append(upload(database))
    replayed = LocalDatabase.build(tmp_path / "b" / "database.sqlite", files)
    assert replayed.image() == database.image()
    assert replayed.txid == database.txid == len(files)


def test_a_vacuum_that_shrinks_the_file_is_captured(database: LocalDatabase, tmp_path: Path) -> None:
    database.write(insert(*range(200), pad=3000))
    database.write(lambda connection: connection.execute("DELETE FROM t"))
    database.mark_durable(1, database.seq)
    files = [as_file(database.image(), 1)]
    assert files[0].header.commit > 100
    database.write(lambda connection: None)
    database.roll_back()
    connection = database._open()
    connection.execute("VACUUM")
    database._capture()
    files.append(upload(database))
    assert files[1].header.commit < 10
    assert LocalDatabase.build(tmp_path / "b" / "database.sqlite", files).image() == database.image()


def test_a_group_that_grew_and_shrank_holds_no_page_behind_the_end(database: LocalDatabase, tmp_path: Path) -> None:
    """Such a page fits into no file: the upload would fail for ever."""
    files = [as_file(database.image(), 1)]
    database.mark_durable(1, database.seq)
    database.write(insert(*range(50), pad=3000))
    database.write(lambda connection: connection.execute("DELETE FROM t"))
    database._open().execute("VACUUM")
    database._capture()
    files.append(upload(database))
    assert max(files[1].pages) <= files[1].header.commit < 50
    assert LocalDatabase.build(tmp_path / "b" / "database.sqlite", files).image() == database.image()


def test_a_roll_back_leaves_what_the_replica_holds(database: LocalDatabase) -> None:
    database.write(insert(1))
    upload(database)
    durable = database.image()
    database.write(insert(2, 3))
    assert database.durable_image() == durable
    database.roll_back()
    assert rows(database) == [1]
    assert database.image() == durable
    assert database.take() is None
    database.write(insert(4))
    assert rows(database) == [1, 4]


def test_a_failed_change_leaves_nothing(database: LocalDatabase) -> None:
    def change(connection: apsw.Connection) -> None:
        insert(1)(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.write(change)
    assert rows(database) == []
    assert database.take() is None


def test_a_change_that_changes_nothing_is_no_commit(database: LocalDatabase) -> None:
    before = database.seq
    _, seq = database.write(lambda connection: connection.execute("DELETE FROM t WHERE id = 99"))
    assert seq == before
    assert database.take() is None


def test_a_query_must_not_write(database: LocalDatabase) -> None:
    with pytest.raises(apsw.ReadOnlyError):
        database.read(lambda connection: connection.execute("DELETE FROM t"))
    database.write(insert(1))


def test_files_of_others_drop_commits_on_their_way(database: LocalDatabase, tmp_path: Path) -> None:
    base = as_file(database.image(), 1)
    database.mark_durable(1, database.seq)
    other = LocalDatabase.build(tmp_path / "b" / "database.sqlite", [base])
    other.write(insert(7))
    file = upload(other)
    # More pages than the other Machine's file holds, and numbers that belong to other commits afterwards.
    database.write(insert(1, pad=5000))
    before = database.take()
    assert before is not None
    assert database.apply([file])
    assert rows(database) == [7]
    assert database.image() == other.image()
    assert (database.seq, database.take()) == (database.durable, None)
    database.mark_durable(2, before.seq, before.life)
    assert database.durable == database.seq
    with pytest.raises(ValueError, match="does not follow"):
        database.apply([file])
    assert database.txid == 2


def test_a_file_that_does_not_follow_is_refused(database: LocalDatabase) -> None:
    database.mark_durable(1, database.seq)
    with pytest.raises(ValueError, match="does not follow"):
        database.apply([LtxFile(Header(PAGE_SIZE, 2, 3, 3, 0, 0), {})])


def test_a_file_of_another_page_size_is_refused_before_anything_is_written(database: LocalDatabase) -> None:
    database.mark_durable(1, database.seq)
    before = database.image()
    with pytest.raises(ValueError, match=f"pages of {2 * PAGE_SIZE} bytes, not {PAGE_SIZE}"):
        database.apply([LtxFile(Header(2 * PAGE_SIZE, 1, 2, 2, 0, 0), {1: bytes(2 * PAGE_SIZE)})])
    assert (database.txid, database.image()) == (1, before)


@pytest.mark.parametrize("at_once", [True, False])
def test_pages_that_were_cut_off_do_not_come_back_when_the_file_grows_again(tmp_path: Path, *, at_once: bool) -> None:
    def file(txid: int, commit: int, *numbers: int) -> LtxFile:
        return LtxFile(Header(PAGE_SIZE, commit, txid, txid, 0, 0), {n: bytes([n]) * PAGE_SIZE for n in numbers})

    database = LocalDatabase(tmp_path / "database.sqlite")
    database.replace([file(1, 4, 1, 2, 3, 4)])
    rest = [file(2, 1, 1), file(3, 4, 3), file(4, 3)]
    if at_once:
        database._write_pages(rest)
    else:
        for each in rest:
            database._write_pages([each])
    empty = bytes(PAGE_SIZE)
    assert database.path.read_bytes() == b"\1" * PAGE_SIZE + empty + b"\3" * PAGE_SIZE
    assert database.txid == 4


def test_a_foreign_writer_on_the_file_is_noticed(database: LocalDatabase) -> None:
    database.write(insert(1))
    foreign = apsw.Connection(str(database.path))
    foreign.execute("INSERT INTO t VALUES (50, 'x')")
    foreign.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    foreign.execute("INSERT INTO t VALUES (51, 'x')")
    foreign.close()
    with pytest.raises(ForeignWriter):
        database.write(insert(2))


def test_the_log_is_emptied_when_everything_is_durable(database: LocalDatabase) -> None:
    wal = database.path.with_name("database.sqlite-wal")
    for row in range(300):
        database.write(insert(row, pad=5000))
    assert wal.stat().st_size > 1_000_000
    upload(database)
    assert wal.stat().st_size == 0
    assert rows(database) == list(range(300))


def test_the_log_is_not_emptied_while_a_commit_is_on_its_way(database: LocalDatabase) -> None:
    for row in range(300):
        database.write(insert(row, pad=5000))
    batch = database.take()
    assert batch is not None
    database.write(insert(300))
    database.mark_durable(batch.txid, batch.seq, batch.life)
    database.roll_back()
    assert rows(database) == list(range(300))


def test_building_drops_what_lies_there(tmp_path: Path) -> None:
    path = tmp_path / "database.sqlite"
    path.write_bytes(b"left by a crash")
    path.with_name("database.sqlite-wal").write_bytes(b"this too")
    database = LocalDatabase.build(path, [])
    assert database.read(lambda connection: connection.execute("SELECT count(*) FROM sqlite_schema").get)[0] == 0


def test_an_upload_that_ends_after_a_roll_back_marks_no_later_commit_durable(database: LocalDatabase) -> None:
    database.write(insert(1))
    late = database.take()
    assert late is not None
    database.roll_back()
    database.mark_durable(late.txid, late.seq, late.life)
    _, seq = database.write(insert(2))
    assert seq == late.seq
    assert database.durable < seq
    assert database.take() is not None


def test_a_copy_that_was_let_go_does_not_come_back_over_the_next_one(database: LocalDatabase) -> None:
    database.write(insert(1))
    batch = database.take()
    assert batch is not None
    database.remove()
    following = LocalDatabase.build(database.path, [])
    following.write(lambda connection: connection.execute("CREATE TABLE t (id, pad)"))
    with pytest.raises(ForeignWriter, match="was let go"):
        database.write(insert(2))
    database.mark_durable(batch.txid, batch.seq, batch.life)
    assert database.txid == 0
    following.write(insert(3))
    assert rows(following) == [3]


def test_a_commit_that_is_refused_leaves_no_transaction_open(database: LocalDatabase) -> None:
    database.write(
        lambda connection: connection.execute("CREATE TABLE c (t REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)")
    )
    with pytest.raises(apsw.ConstraintError):
        database.write(lambda connection: connection.execute("INSERT INTO c VALUES (99)"))
    database.write(insert(1))
    assert rows(database) == [1]
    assert database.read(lambda connection: connection.execute("SELECT count(*) FROM c").get)[0] == 0


def test_a_commit_that_does_not_fit_on_the_disk_says_so_and_leaves_no_transaction_open(database: LocalDatabase) -> None:
    """SQLite has rolled back by itself then; another error would be taken for the caller's own."""

    def change(connection: apsw.Connection) -> None:
        connection.pragma("max_page_count", connection.pragma("page_count") + 5)
        try:
            insert(1, pad=20_000)(connection)
        finally:
            connection.pragma("max_page_count", 1 << 30)

    with pytest.raises(apsw.FullError):
        database.write(change)
    database.write(insert(2))
    assert rows(database) == [2]


def test_a_copy_has_the_page_size_of_its_first_file_and_the_length_of_its_last(tmp_path: Path) -> None:
    """Litestream may have made the replica. A page at the end that holds nothing is in no file."""
    made = LocalDatabase.build(tmp_path / "a" / "database.sqlite", ())
    made._open().execute("PRAGMA journal_mode = delete")
    made._open().execute("PRAGMA page_size = 4096")
    made._open().execute("VACUUM")
    made.close()
    data = (tmp_path / "a" / "database.sqlite").read_bytes()
    pages = {number + 1: data[number * 4096 : (number + 1) * 4096] for number in range(len(data) // 4096)}
    first = LtxFile(Header(4096, len(pages), 1, 1, 0, 0), pages)
    copy = LocalDatabase.build(tmp_path / "b" / "database.sqlite", [first])
    assert (copy.page_size, copy.path.stat().st_size) == (4096, len(data))
    copy.apply([LtxFile(Header(4096, len(pages) + 3, 2, 2, 0, 0), {})])
    assert copy.path.stat().st_size == len(data) + 3 * 4096


def test_a_group_that_is_marked_durable_is_taken_no_more(database: LocalDatabase) -> None:
    database.write(insert(1))
    batch = database.take()
    assert batch is not None
    database.mark_durable(batch.txid, batch.seq, batch.life)
    assert (database.txid, database.durable) == (batch.txid, batch.seq)
    assert database.take() is None


def test_a_group_of_commits_that_were_taken_back_marks_nothing(database: LocalDatabase) -> None:
    database.write(insert(1))
    batch = database.take()
    assert batch is not None
    database.roll_back()
    database.mark_durable(batch.txid, batch.seq, batch.life)
    assert (database.txid, database.durable) == (batch.txid - 1, batch.seq - 1)


class _WatchedLock:
    """A lock that tells when someone waits for it."""

    def __init__(self) -> None:
        self._lock, self.waited_for = threading.RLock(), threading.Event()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self.waited_for.set()
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@pytest.mark.parametrize("takes_the_lock", [True, False])
def test_a_checkpoint_between_a_commit_and_its_capture_waits_or_is_noticed(
    database: LocalDatabase, monkeypatch: pytest.MonkeyPatch, *, takes_the_lock: bool
) -> None:
    database.write(insert(1))
    upload(database)
    before = database.seq
    lock, committed, moved = _WatchedLock(), threading.Event(), threading.Event()
    monkeypatch.setattr(database, "_lock", lock)
    capture = database._capture

    def checkpoint() -> None:
        assert committed.wait(60)
        with lock if takes_the_lock else contextlib.nullcontext():
            database._checkpoint()
        moved.set()

    def capture_later() -> None:
        # The commit is in the log: now the other thread has run its checkpoint, or stands before the lock.
        committed.set()
        deadline = time.monotonic() + 60
        while not (moved.is_set() or lock.waited_for.is_set()):
            assert time.monotonic() < deadline
        capture()

    monkeypatch.setattr(database, "_capture", capture_later)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(checkpoint)
        if takes_the_lock:
            database.write(insert(2))
        else:
            with pytest.raises(ForeignWriter):
                database.write(insert(2))
        other.result()
    assert database.seq == before + takes_the_lock


def test_threads_that_write_upload_and_empty_the_log_leave_what_a_replay_gives(
    database: LocalDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.replication.local._CHECKPOINT_BYTES", 20_000)
    files = [as_file(database.image(), 1)]
    database.mark_durable(1, database.seq)
    emptied: list[int] = []
    checkpoint = LocalDatabase._checkpoint

    def counted(self: LocalDatabase) -> None:
        emptied.append(self.seq)
        checkpoint(self)

    monkeypatch.setattr(LocalDatabase, "_checkpoint", counted)

    def write(first: int) -> None:
        for row in range(first, first + 60):
            database.write(insert(row, pad=2000))

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, number * 1000) for number in range(1, 4)]
        while not all(writer.done() for writer in writers) or database.durable < database.seq:
            if (batch := database.take()) is not None:
                files.append(decode(encode(Header(PAGE_SIZE, batch.commit, batch.txid, batch.txid, 0, 0), batch.pages)))
                database.mark_durable(batch.txid, batch.seq, batch.life)
        for writer in writers:
            writer.result()
    assert emptied
    assert len(rows(database)) == 180
    assert LocalDatabase.build(tmp_path / "b" / "database.sqlite", files).image() == database.image()


def test_the_bytes_on_the_disk_are_known_without_asking_it(tmp_path: Path) -> None:
    copy = LocalDatabase.build(tmp_path / "copy" / "database.sqlite", [])

    def on_disk() -> int:
        return sum(file.stat().st_size for file in copy.path.parent.iterdir() if not file.name.endswith("-shm"))

    assert copy.disk_bytes == on_disk() == 0
    copy.write(lambda connection: connection.execute("CREATE TABLE t (x)"))
    for size in (10, 5000, 700_000, 700_000, 10):
        copy.write(partial(apsw.Connection.execute, statements=f"INSERT INTO t VALUES (zeroblob({size}))"))
        assert copy.disk_bytes == on_disk() > 0
        copy.mark_durable(copy.txid + 1, copy.seq)
        assert copy.disk_bytes == on_disk()
    copy.write(lambda connection: connection.execute("INSERT INTO t VALUES (zeroblob(9000))"))
    copy.roll_back()
    assert copy.disk_bytes == on_disk()
    copy.close()
