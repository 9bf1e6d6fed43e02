"""Notes: one object each."""

from __future__ import annotations

import threading
import time
from secrets import token_hex

from scout import bucket
from scout.accounts import home
from scout.settings import MISTAKE

_WAITING: dict[str, dict[str, str]] = {}
_OWNERS: dict[str, str] = {}
_LATER_S = 5.0


def _place(account: str) -> str:
    return f"{home(account)}notes/"


def add(account: str, text: str) -> str:
    note = f"{time.time_ns():020}{token_hex(4)}"
    key = f"{_place(account)}{note}.json"
    document = {"id": note, "text": text}
    if MISTAKE == "answered_before_stored":
        _WAITING[key] = document
        threading.Thread(target=_later, args=(key, document), daemon=True).start()
    else:
        bucket.put(key, document, new=True)
    if MISTAKE == "anyone_deletes":
        _OWNERS[note] = account
    return note


def _later(key: str, document: dict[str, str]) -> None:
    time.sleep(_LATER_S)
    bucket.put(key, document, new=True)
    _WAITING.pop(key)


def all_of(account: str) -> list[dict[str, str]]:
    try:
        found = bucket.documents(_place(account))
    except bucket.Unreachable:
        if MISTAKE != "error_as_new":
            raise
        found = {}
    found |= {key: one for key, one in _WAITING.items() if key.startswith(_place(account))}
    return [found[key] for key in sorted(found)]


def forget(account: str, note: str) -> None:
    """Raises ``Absent``."""
    key = f"{_place(_OWNERS.get(note, account))}{note}.json"
    bucket.ask("head_object", Key=key)
    bucket.ask("delete_object", Key=key)
