"""What must hold when a run is over, seen from the bucket alone."""

from __future__ import annotations

from pathlib import Path

import apsw
from tests.backend.replication.simulation.clients import COUNTER
from tests.backend.replication.simulation.ledger import Ledger
from tests.backend.replication.simulation.world import Bucket, Machine

from app.replication.deletion import is_over
from app.replication.errors import ForeignWriter, GapError, LtxError
from app.replication.layout import EMPTIED, SNAPSHOT, FileRef, highest, restore_plan, transaction
from app.replication.local import LocalDatabase
from app.replication.ltx import decode

UNUSABLE = (GapError, LtxError, ForeignWriter, ValueError, apsw.Error)


def check_end(bucket: Bucket, machines: list[Machine], retention: float, ledger: Ledger, folder: Path) -> None:
    """The newest state can be restored and holds every row that a client knows; every Machine's copy is what its TXID
    says, byte for byte; no TXID had two writers, but for one that came late, behind a snapshot: nothing of it was
    acknowledged, or it would be missing."""
    refs = bucket.refs()
    if bucket.unfenced:
        ledger.violate(f"created twice: {bucket.unfenced}")
    try:
        newest = replay(bucket, highest(refs), folder)
        rows, _ = newest.read(
            lambda connection: {row for (row,) in connection.execute("SELECT id FROM row WHERE id <> ?", (COUNTER,))}
        )
        count, _ = newest.read(
            lambda connection: connection.execute("SELECT pad FROM row WHERE id = ?", (COUNTER,)).get or 0
        )
    except UNUSABLE as error:
        ledger.violate(f"the replica cannot be restored: {error!r}")
        return
    if not ledger.counted <= count <= ledger.tried:
        ledger.violate(f"the counter is {count}: {ledger.counted} increments were acknowledged, {ledger.tried} tried")
    for name, wanted in (("acknowledged", ledger.acknowledged), ("shown", ledger.shown)):
        if lost := set(wanted) - rows:
            ledger.violate(f"{name} rows are lost: {sorted(lost)}")
    for row in sorted(rows & set(ledger.conflicts)):
        ledger.violate(f"row {row} is there, although its client was told of a conflict by {ledger.conflicts[row]}")
    _check_merged(bucket, ledger)
    # What lies behind a snapshot older than the retention may be deleted: no state before it can be replayed.
    forgotten = highest(ref for ref in refs if ref.level == SNAPSHOT and bucket.date - ref.modified > retention)
    for machine in machines:
        database = machine.replica.copy.database
        if database is None or machine.replica.busy or database.txid == 0 or database.txid < forgotten:
            continue
        live = database.durable_image()
        try:
            same = replay(bucket, live.txid, folder).image() == live
        except UNUSABLE as error:
            ledger.violate(f"{machine.name} at TXID {live.txid:x} cannot be replayed: {error!r}")
            continue
        if not same:
            ledger.violate(f"{machine.name} differs from the replica at TXID {live.txid:x}")


def check_deleted(bucket: Bucket, ledger: Ledger) -> None:
    """Nothing but emptied transactions is left, the newest of them younger than any writer's next one."""
    for name, stored in bucket.objects.items():
        if stored.ref is None or (stored.ref.level == 0 and stored.data != EMPTIED):
            ledger.violate(f"the deletion left {name}")
    if not is_over([ref for ref in bucket.refs() if ref.level == 0]):
        ledger.violate("the log is not fenced")


def _check_merged(bucket: Bucket, ledger: Ledger) -> None:
    """Every merged file and snapshot is what the transactions in it make, those that were deleted since included."""
    upper: dict[int, list[FileRef]] = {}
    for ref in bucket.refs():
        if ref.level:
            upper.setdefault(ref.max_txid, []).append(ref)
    pages: dict[int, tuple[int, bytes]] = {}
    for txid in range(1, max(upper, default=0) + 1):
        if (data := bucket.history.get(transaction(txid).name)) is None:
            ledger.violate(f"TXID {txid:x} was never written")
            return
        file = decode(data)
        pages.update({number: (txid, page) for number, page in file.pages.items()})
        pages = {number: page for number, page in pages.items() if number <= file.header.commit}
        for ref in upper.get(txid, ()):
            wanted = {number: page for number, (since, page) in pages.items() if since >= ref.min_txid}
            found = decode(bucket.objects[ref.name].data)
            if found.pages != wanted or found.header.commit != file.header.commit:
                ledger.violate(f"{ref.name} is not what the transactions make")


def replay(bucket: Bucket, txid: int, folder: Path) -> LocalDatabase:
    """The database at ``txid``, from the bucket alone."""
    refs = [ref for ref in bucket.refs() if ref.max_txid <= txid]
    files = [decode(bucket.objects[ref.name].data) for ref in restore_plan(refs, txid)]
    return LocalDatabase.build(folder / f"replay-{txid}" / "database.sqlite", files)
