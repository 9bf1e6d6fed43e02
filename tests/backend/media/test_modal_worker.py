"""Jobs on Modal, with the calls answered here: found again by id, checked in the bucket before they count."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.backend.fakes import FakeStore

from app.jobs.models import Job, JobKind, JobStatus
from app.services.modal_client import CallLost, ModalClient
from app.services.modal_worker import ModalWorker
from app.services.worker import Work, WorkFailed
from app.settings import Settings
from reel.payloads import ReelClip, RenderProgress, RenderReel, RenderReelResult

OUT = "staging/users/u/profiles/p/exports/e1.mp4"
PAYLOAD = RenderReel("e1", OUT, (ReelClip("c", "staging/users/u/profiles/p/games/g/source.mp4", 0, 1),)).to_dict()
RESULT = RenderReelResult("e1", OUT, 3, 1.0, 1280, 720, "h264", "aac").to_dict()


class Answers(ModalClient):
    """A client whose control plane is this object."""

    def __init__(self, settings: Settings, known: dict[str, Any]) -> None:
        super().__init__(settings)
        object.__setattr__(self, "known", known)
        object.__setattr__(self, "spawned", [])

    known: dict[str, Any]
    spawned: list[str]

    async def spawn(self, function: str, payload: dict[str, Any]) -> str:
        self.spawned.append(f"{function}-{len(self.spawned)}")
        return self.spawned[-1]

    async def result(
        self, function: str, call_id: str, *, deadline_s: float, on_wait: Callable[[], Awaitable[None]]
    ) -> dict[str, Any]:
        await on_wait()
        if call_id not in self.known:
            raise CallLost(call_id)
        found: dict[str, Any] = self.known[call_id]
        return found

    async def progress(self, job_id: str) -> RenderProgress | None:
        return RenderProgress(0.4, "encode", 1.0)


class Row:
    """What the worker told its job's row."""

    def __init__(self, call_id: str | None = None) -> None:
        self.calls: list[str | None] = []
        self.progress: list[float] = []
        job = Job(
            "e1", JobKind.EXPORT, "p", JobStatus.PROCESSING, 0, "", None, PAYLOAD, None, call_id, "m/p", 0, "", ""
        )
        self.work = Work(job, self.report, self.note)

    async def report(self, progress: float, phase: str) -> None:
        self.progress.append(progress)

    async def note(self, call_id: str | None) -> None:
        self.calls.append(call_id)


async def test_a_render_notes_its_call_and_counts_when_the_bucket_holds_the_file(
    settings: Settings, store: FakeStore
) -> None:
    await store.put_bytes(OUT, b"abc")
    row = Row()
    assert await ModalWorker(store, Answers(settings, {"render_reel-0": RESULT}), 60).run(row.work) == RESULT
    assert row.calls == ["render_reel-0"]
    assert 0.4 in row.progress


async def test_a_call_of_an_earlier_process_is_waited_for_and_not_made_again(
    settings: Settings, store: FakeStore
) -> None:
    await store.put_bytes(OUT, b"abc")
    client = Answers(settings, {"old": RESULT})
    assert await ModalWorker(store, client, 60).run(Row("old").work) == RESULT
    assert client.spawned == []


async def test_a_call_that_modal_forgot_is_made_again_once(settings: Settings, store: FakeStore) -> None:
    await store.put_bytes(OUT, b"abc")
    client = Answers(settings, {"render_reel-0": RESULT})
    row = Row("forgotten")
    assert await ModalWorker(store, client, 60).run(row.work) == RESULT
    assert row.calls == ["render_reel-0"]


@pytest.mark.parametrize(
    ("data", "result", "reason"),
    [
        (None, RESULT, "not in the bucket"),
        (b"ab", RESULT, "2 bytes"),
        (b"abc", {**RESULT, "output_key": "exports/e1.mp4"}, "expected staging/"),
        (b"abc", {**RESULT, "extra": 1}, "unknown 'extra'"),
    ],
)
async def test_a_result_that_the_bucket_does_not_bear_out_is_a_failure(
    settings: Settings, store: FakeStore, data: bytes | None, result: dict[str, Any], reason: str
) -> None:
    if data is not None:
        await store.put_bytes(OUT, data)
    with pytest.raises(WorkFailed, match=reason):
        await ModalWorker(store, Answers(settings, {"old": result}), 60).run(Row("old").work)
