"""What counts as a mistake when R2 refuses an object that the backend writes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parity.checks.generic import test_refused_objects as checks
from parity.contract import Job, JobState, Refused, Uploaded


class Store:
    """A bucket, its faults and the admin API's list of requests, all in memory."""

    def __init__(self) -> None:
        self.there: dict[str, bytes] = {}
        self.asked: list[dict[str, object]] = []
        self.faults: list[SimpleNamespace] = []

    @asynccontextmanager
    async def on(self, key: str, operation: str, *, status: int, times: int | None, **_: Any) -> AsyncIterator[Any]:
        self.faults.append(fault := SimpleNamespace(operation=operation, left=times, fired=0))
        yield fault
        self.faults.remove(fault)

    async def admin(self, _method: str, _path: str) -> dict[str, Any]:
        return {"requests": self.asked}

    async def objects(self, prefix: str) -> dict[str, str]:
        return {key: "" for key in self.there if key.startswith(prefix)}

    async def read(self, key: str) -> bytes:
        return self.there[key]

    def put(self, key: str, data: bytes) -> bool:
        """Whether it took the object."""
        for fault in self.faults:
            if fault.operation == "PutObject" and fault.left != 0:
                fault.fired, fault.left = fault.fired + 1, None if fault.left is None else fault.left - 1
                return False
        self.there[key] = data
        self.asked.append({"key": key, "operation": "PutObject", "status": 200, "time": time.time()})
        return True


class App:
    """Receives files and makes reports. ``kind`` is what it does when R2 refuses one."""

    def __init__(self, store: Store, kind: str) -> None:
        self.store, self.kind = store, kind
        self.known: dict[bytes, str] = {}
        self.count = 0

    def _key(self) -> str:
        self.count += 1
        return f"films/{self.count}.mp4"

    async def upload(self, data: bytes) -> Uploaded:
        if data in self.known:
            return Uploaded(self.known[data])
        key = self._key()
        if self.kind == "remembers":
            self.known[data] = key
        taken = self.store.put(key, data) or (self.kind == "tries again" and self.store.put(key, data))
        if not taken and self.kind == "stuck":
            self.kind = "refuses all"
        if self.kind == "refuses all" or (not taken and self.kind != "swallows"):
            raise Refused("POST /films", 0 if self.kind == "silent" else 503, "")
        return Uploaded(key)

    async def job(self) -> Job:
        key = self._key()
        taken = self.store.put(key, b"report") or (self.kind == "tries again" and self.store.put(key, b"report"))
        if not taken and self.kind == "refuses":
            raise Refused("POST /reports", 503, "")
        state = JobState("done", keys=(key,))
        if not taken and self.kind != "swallows":
            state = JobState("failed", "" if self.kind == "silent" else "R2 refused it")

        async def now() -> JobState:
            return state

        return Job(now, 1.0)


def one_try(kind: str, times: int | None) -> tuple[checks.Try, Any]:
    store = Store()
    person = SimpleNamespace(app=App(store, kind), can=lambda _: False)
    return checks.Try(cast(Any, person), "films/*", (403, times)), store


@pytest.mark.parametrize(
    ("kind", "times", "accused"),
    [
        ("honest", None, ""),
        ("honest", 1, ""),
        ("tries again", None, ""),
        ("tries again", 1, ""),
        ("swallows", None, "the upload is called finished, but films/1.mp4 is not in the bucket"),
        ("swallows", 1, "the upload is called finished, but films/1.mp4 is not in the bucket"),
        ("silent", None, "gets no answer"),
        ("remembers", None, "after R2 works again, the same file is called finished, but films/1.mp4 is not in the"),
        ("stuck", 1, "the same file is still refused"),
    ],
)
async def test_an_upload_that_r2_refuses(
    kind: str, times: int | None, accused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "PATIENCE_S", 0.0)
    one, store = one_try(kind, times)
    await checks.judge_upload(one, store, store, b"film")
    assert [accused in reason for reason in one.wrong] == ([True] if accused else [])
    assert one.fired


@pytest.mark.parametrize(
    ("kind", "times", "accused"),
    [
        ("honest", None, ""),
        ("refuses", None, ""),
        ("tries again", 1, ""),
        ("swallows", None, "the job is called done, but films/1.mp4 was not stored in the bucket"),
        ("silent", 1, "the job ended as failed: without a reason"),
    ],
)
async def test_an_output_that_r2_refuses(
    kind: str, times: int | None, accused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parity.checks.generic.test_jobs.LOOK_S", 0.0)
    one, store = one_try(kind, times)
    await checks.judge_job(one, store, store, b"film", repeatable=True)
    assert [accused in reason for reason in one.wrong] == ([True] if accused else [])
    assert one.fired


@pytest.mark.parametrize(
    ("one", "other", "pattern"),
    [
        ("s/ada/films/1a", "s/ben/films/2b", "{owns}films/*"),
        ("s/ada/digests/1.result.json", "s/ben/digests/2.result.json", "{owns}digests/*.result.json"),
        ("s/ada/profiles/p1/exports/1.mp4", "s/ben/profiles/p2/exports/2.mp4", "{owns}profiles/*/exports/*.mp4"),
        ("exports/1.mp4", "exports/2.webm", "exports/*"),
        ("s/ada/latest.json", "s/ben/latest.json", "{owns}latest.json"),
        ("s/ada/1", "s/ben/films/2", "{owns}*"),
    ],
)
def test_a_pattern_fits_only_keys_of_that_kind(one: str, other: str, pattern: str) -> None:
    assert checks.key_pattern((one, "s/ada/"), (other, "s/ben/")) == pattern
