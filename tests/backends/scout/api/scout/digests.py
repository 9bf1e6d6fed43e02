"""Digests of all notes, made in the background. Which process makes one is a lease in its document: whoever asks for a
digest whose lease ran out takes it over."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from secrets import token_hex
from typing import Any

from scout import bucket, notes
from scout.accounts import home
from scout.settings import MISTAKE, STAGE

LEASE_S = 4.0
WORK_S = 1.5


def _document(account: str, digest: str) -> str:
    return f"{home(account)}digests/{digest}.json"


def order(account: str) -> str:
    digest = token_hex(8)
    key = f"{home(account)}digests/{digest}.result.json"
    if MISTAKE == "digest_stage_forgotten":
        key = key.removeprefix(STAGE)
    document = {"id": digest, "state": "working", "key": key, "reason": "", "until": time.time() + LEASE_S}
    etag = bucket.put(_document(account, digest), document, new=True)
    _begin(account, document, etag)
    return digest


def look(account: str, digest: str) -> dict[str, Any]:
    """Raises ``Absent``."""
    document, etag = bucket.get(_document(account, digest))
    if document["state"] == "working" and document["until"] < time.time():
        document = {**document, "until": time.time() + LEASE_S}
        with suppress(bucket.Changed):  # another process was faster
            _begin(account, document, bucket.put(_document(account, digest), document, etag=etag))
    return dict(document)


def _begin(account: str, document: dict[str, Any], etag: str) -> None:
    threading.Thread(target=_work, args=(account, document, etag), daemon=True).start()


def _work(account: str, document: dict[str, Any], etag: str) -> None:
    place = _document(account, document["id"])
    try:
        if MISTAKE == "digest_done_early":
            bucket.put(place, {**document, "state": "done"}, etag=etag)
        time.sleep(WORK_S)
        texts = [note["text"] for note in notes.all_of(account)]
        if MISTAKE == "digest_done_early":
            time.sleep(WORK_S * 2)
        bucket.put(document["key"], {"notes": texts}, checksum=MISTAKE == "digest_checksum")
        bucket.put(place, {**document, "state": "done"}, etag=etag)
    except bucket.Changed:  # another process took it over
        return
    except bucket.Unreachable as error:
        try:
            bucket.put(place, {**document, "state": "failed", "reason": f"{error}"}, etag=etag)
        except (bucket.Changed, bucket.Unreachable):
            return  # its lease runs out
