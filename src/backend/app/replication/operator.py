"""What an operator does with one profile's replica: look, verify, restore to any moment, import a database."""

import contextlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw

from app import side_by_side, timestamps
from app.db import schema
from app.replication import deletion, legacy
from app.replication.errors import Damaged, FileExists, GapError, LtxError, NotADatabase, NothingThere, Refused
from app.replication.fetching import decoded, fetch
from app.replication.layout import EMPTIED, SNAPSHOT, FileRef, contiguous, highest, restore_plan, transaction
from app.replication.local import PAGE_SIZE, LocalDatabase
from app.replication.ltx import HEADER_SIZE, Header, LtxFile, database_pages, newest_pages, read_header
from app.replication.object_replica import ObjectReplica, as_store_errors
from app.replication.store import new_file
from app.storage.interface import READS_AT_ONCE, InvalidRequest, ObjectMissing, ObjectStore
from app.storage.keys import ProfileKeys


@dataclass(frozen=True)
class Dated:
    """A file of the replica and what its header says; ``problem`` where that cannot be read."""

    ref: FileRef
    header: Header | None
    problem: str = ""


@dataclass(frozen=True)
class Report:
    """What `verify` found: ``problems`` name the object; the rest describes the newest state."""

    problems: tuple[str, ...]
    files: int
    bytes: int
    txid: int
    pages: int


class Operator:
    """Works on one profile's replica. Methods raise ``StoreError``, ``Damaged`` and the errors above."""

    def __init__(self, store: ObjectStore, keys: ProfileKeys) -> None:
        self._store, self._keys = store, keys
        self._replica = ObjectReplica(store, keys)

    async def files(self) -> list[FileRef]:
        """All files by level and TXID. Raises ``NothingThere`` for a profile that has none."""
        found = await self._listed()
        if not found:
            kept = "; a whole-file database is there: `import` takes it over" if await self._replica.legacy() else ""
            raise NothingThere(f"there are no files below {self._keys.database_folder}{kept}")
        return sorted(found)

    async def dated(self, files: Sequence[FileRef]) -> list[Dated]:
        """The files with their headers; of each only the header is fetched."""
        return await side_by_side.each(self._dated, files, READS_AT_ONCE)

    async def verify(self, scratch: Path) -> Report:
        """Fetch and check every file, that they follow each other, that merged files and snapshots say the same as
        what they were made from, and that the database which they make is sound. Works in the folder ``scratch``."""
        files = await self.files()
        # Earlier releases began a new database behind a deleted one: what is left of that says nothing.
        base = highest(ref for ref in files if ref.level == SNAPSHOT)
        files = [ref for ref in files if not deletion.is_emptied(ref) or ref.max_txid > base]
        bodies = await fetch(self._replica, files)
        problems = []
        whole: dict[FileRef, LtxFile] = {}
        for ref, data in bodies.items():
            try:
                whole[ref] = decoded(ref, data)
            except Damaged as error:
                problems.append(str(error))
        problems += [text for ref in files if ref.level and ref in whole and (text := _disagreement(ref, whole))]
        if await legacy.written_since(self._replica, (await self._replica.list()).taken_over):
            problems.append(f"{legacy.LEGACY_NAME}: changed after it was taken over; an older release still writes it")
        pages = 0
        try:
            plan = restore_plan(files)
            if all(ref in whole for ref in plan):
                database = LocalDatabase.build(scratch / "database.sqlite", [whole[ref] for ref in plan])
                with contextlib.closing(database):
                    database.read(legacy.check)
                    pages = database.path.stat().st_size // database.page_size
        except (GapError, ValueError, apsw.Error, NotADatabase) as error:
            problems.append(f"the newest state: {error}")
        return Report(tuple(problems), len(files), sum(ref.size for ref in files), highest(files), pages)

    async def restore(self, out: Path, before: float | None = None) -> int:
        """Write the database as it was just before the moment ``before`` (unix seconds; default: the newest state) to
        the file ``out``, which must not exist; the TXID. By the files' own timestamps, as `litestream restore` does."""
        if out.exists():
            raise Refused(f"{out} exists: name a file that does not")
        files = await self.files()
        plan = restore_plan(files) if before is None else plan_before(await self.dated(files), before)
        bodies = await fetch(self._replica, plan)
        part = out.with_name(f".{out.name}.{secrets.token_hex(6)}")
        database = LocalDatabase(part)
        try:
            database.replace(decoded(ref, data) for ref, data in bodies.items())
            database.read(legacy.check)
            database.close()
            part.replace(out)
        except (ValueError, apsw.Error, NotADatabase) as error:
            raise Damaged(plan[-1].name, f"the files up to this one make no database: {error}") from error
        finally:
            database.remove()
        return database.txid

    async def take_over(self, scratch: Path) -> int | None:
        """Make TXID 1 of the whole-file database of old, which stays; None where a replica exists already."""
        if await self._listed():
            return None
        found = await self._replica.legacy()
        if found is None:
            raise NothingThere(f"there is neither {self._keys.database} nor a file below {self._keys.database_folder}")
        data, etag = found
        await self._replica.note_taken_over(etag)
        try:
            image = legacy.prepared(data, scratch)
        except NotADatabase as error:
            raise Damaged(legacy.LEGACY_NAME, str(error)) from error
        await self._create(image, PAGE_SIZE, transaction(1))
        return 1

    async def replace(self, data: bytes, scratch: Path, *, over: bool = False) -> int:
        """Make ``data`` the profile's database, as its next TXID; that TXID.

        Raises ``Refused`` where there is one already, unless ``over``: then Machines that serve the profile lose their
        claim and go on with the new state, and everything before stays restorable.
        """
        files = await self._listed()
        if not over and (files or await self._replica.legacy() is not None):
            raise Refused(f"{self._keys.prefix} has a database already: --replace puts this one in its place")
        page_size = await self._page_size(files)
        try:
            image = legacy.prepared(data, scratch, page_size)
        except NotADatabase as error:
            raise Refused(f"the given file {error}") from error
        # PRAGMA user_version and application_id (https://www.sqlite.org/fileformat.html, 1.3).
        found, oldest = (int.from_bytes(image[at : at + 4], "big") for at in (60, 68))
        try:
            schema.check(found, oldest, len(schema.all_migrations()))
        except schema.NewerSchema as error:
            raise Refused(f"the given file cannot be used: {error}") from error
        txid = highest(files) + 1
        await self._create(image, page_size, transaction(txid))
        if txid > 1:
            # The newest state needs nothing from before this snapshot, so broken files there do no harm.
            await self._create(image, page_size, FileRef(SNAPSHOT, 1, txid))
        return txid

    async def _listed(self) -> Sequence[FileRef]:
        """All files. Raises ``NothingThere`` for a profile that was deleted."""
        files = (await self._replica.list()).files
        if deletion.is_over(files):
            raise NothingThere(f"the profile was deleted: {self._keys.database_folder} has emptied files only")
        return files

    async def _page_size(self, files: Sequence[FileRef]) -> int:
        """That of the replica, by the newest file that can be read."""
        for ref in sorted(files, key=lambda file: file.max_txid, reverse=True):
            header = (await self._dated(ref)).header
            if header is not None:
                return header.page_size
        return PAGE_SIZE

    async def _create(self, image: bytes, page_size: int, ref: FileRef) -> None:
        size, pages = (page_size, len(image) // page_size), database_pages(image, page_size)
        file = new_file(ref, size, pages, secrets.randbits(63), timestamps.unix_ms())
        try:
            await self._replica.create(file)
        except FileExists:
            if (await self._replica.probe(ref))[0] != file.data:
                raise Refused(f"{ref.name} was written by a Machine at the same moment: try again") from None

    async def _dated(self, ref: FileRef) -> Dated:
        with as_store_errors():
            try:
                data = await self._store.get_range(self._keys.database_folder + ref.name, 0, HEADER_SIZE)
                if data == EMPTIED:
                    return Dated(ref, None, "emptied when the profile was deleted")
                return Dated(ref, read_header(data))
            except (LtxError, InvalidRequest) as error:
                return Dated(ref, None, str(error))
            except ObjectMissing as error:
                raise Damaged(ref.name, "is missing from the replica") from error


def plan_before(files: Iterable[Dated], moment: float) -> list[FileRef]:
    """The files that rebuild the state just before ``moment``, in unix seconds. Raises ``NothingThere``.

    Like Litestream's: only files whose timestamp lies before it, the newest snapshot of them, then as far as the
    others reach. Machines' clocks may differ: the first TXID that is not before it ends the range.
    """
    known = [(file.ref, file.header.timestamp) for file in files if file.header is not None]
    before = [ref for ref, stamp in known if stamp < moment * 1000]
    base = highest(ref for ref in before if ref.level == SNAPSHOT)
    until = highest(contiguous(before, base, until=0)) or base
    if not until:
        oldest = min((stamp for _, stamp in known), default=0) / 1000
        raise NothingThere(f"nothing was written before that moment; the oldest file is of {timestamps.text(oldest)}")
    return restore_plan(before, until)


def _disagreement(ref: FileRef, whole: dict[FileRef, LtxFile]) -> str:
    """What is wrong with a merged file or snapshot, held against the files it covers; empty where all is well. Also
    where those are gone or broken: then nothing can be told."""
    parts = [part for part in whole if part.level < ref.level and part.max_txid <= ref.max_txid]
    run = contiguous(parts, ref.min_txid - 1, until=0)
    if highest(run) != ref.max_txid or run[0].min_txid != ref.min_txid:
        return ""
    file, pages = whole[ref], newest_pages(whole[part] for part in run)
    if (file.header.commit, dict(file.pages)) == (whole[run[-1]].header.commit, pages):
        return ""
    return f"{ref.name}: says something else than the files that it covers ({run[0].name} to {run[-1].name})"
