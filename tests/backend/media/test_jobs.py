"""Jobs over cancellation, restarts and other Machines: rows, files and processes agree."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw
import httpx
import pytest
from fastapi import FastAPI
from tests.backend.fakes import FakeStore, Fault
from tests.backend.media.conftest import PREFIX, Api, SecondPiece, stored, until

from app.context import UserContext
from app.core import Core
from app.jobs import rows, runner
from app.jobs.models import Job, JobKind
from app.main import create_app
from app.services import local_worker
from app.services.local_worker import LocalWorker
from app.services.worker import Work, WorkFailed, delete_result
from app.settings import Settings
from app.storage.interface import StorageUnavailable
from app.storage.retry import Policy
from reel import render
from reel.run import run_ffmpeg

T = TypeVar("T")
CONTEXT = UserContext("alice", "main")


class Held:
    """A worker that goes on only when told to."""

    limit = 1

    def __init__(self) -> None:
        self.runs = 0
        self.go = asyncio.Event()
        self.cancelled = 0
        self.abandoned: list[str | None] = []
        self.discarded: list[str] = []

    async def run(self, work: Work) -> dict[str, Any]:
        self.runs += 1
        await work.report(0.5, "encode")
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return {"output_key": work.job.payload["output_key"], "size_bytes": 1, "duration_s": 1.0}

    async def discard(self, job: Job) -> None:
        self.discarded.append(job.id)

    async def abandon(self, job: Job) -> None:
        self.abandoned.append(job.call_id)


class Called(Held):
    """One whose work is a call somewhere else."""

    async def run(self, work: Work) -> dict[str, Any]:
        await work.note_call("call-1")
        return await super().run(work)


class Stores(Held):
    """One that stores a file at its end, as the workers do."""

    def __init__(self, store: FakeStore) -> None:
        super().__init__()
        self._store = store

    async def run(self, work: Work) -> dict[str, Any]:
        made = await super().run(work)
        await self._store.put_bytes(made["output_key"], b"x")
        return made

    async def discard(self, job: Job) -> None:
        await super().discard(job)
        await delete_result(self._store, job)


def hold(app: FastAPI, worker: Held | None = None) -> Held:
    worker = worker or Held()
    app.state.runner._worker = worker
    return worker


async def started(api: Api, make_video: Callable[..., bytes]) -> str:
    game = await api.upload(make_video())
    clip = await api.clip(game["id"], 0, 1)
    export: str = (await api.export([clip]))["id"]
    await until(lambda: api.call("GET", f"/api/exports/{export}"), lambda job: job["status"] == "processing")
    return export


async def working(worker: Held) -> None:
    """Return when the worker has begun, which is after its job's status says so."""
    async with asyncio.timeout(60):
        while not worker.runs:  # noqa: ASYNC110 - the worker begins by itself
            await asyncio.sleep(0.01)


async def test_a_cancelled_export_stops_working_and_stays_cancelled(
    app: FastAPI, api: Api, make_video: Callable[..., bytes]
) -> None:
    worker = hold(app)
    export = await started(api, make_video)
    await working(worker)
    assert (await api.call("POST", f"/api/exports/{export}/cancel"))["status"] == "cancelled"
    assert worker.cancelled == 1
    assert (await api.call("GET", f"/api/exports/{export}"))["status"] == "cancelled"
    await api.call("POST", f"/api/exports/{export}/cancel", expect=409)
    worker.go.set()
    await api.call("POST", f"/api/exports/{export}/retry", expect=202)
    assert (await api.over(f"/api/exports/{export}"))["status"] == "complete"
    assert worker.runs == 2


async def test_a_cancelled_export_is_answered_while_modal_is_away_and_its_call_is_cancelled_later(
    app: FastAPI, api: Api, make_video: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    back = asyncio.Event()

    class Away(Called):
        async def abandon(self, job: Job) -> None:
            if not back.is_set():
                raise WorkFailed("Modal cannot be reached")
            await super().abandon(job)

    monkeypatch.setattr(runner, "STOP_SECONDS", 0.01)
    monkeypatch.setattr(runner, "ABANDON", Policy(attempts=1000, first=0.01, longest=0.01))
    worker = hold(app, Away())
    export = await started(api, make_video)
    await working(worker)
    assert (await api.call("POST", f"/api/exports/{export}/cancel"))["status"] == "cancelled"
    assert worker.abandoned == []
    back.set()
    async with asyncio.timeout(60):
        while "call-1" not in worker.abandoned:  # noqa: ASYNC110 - it is asked again by itself
            await asyncio.sleep(0.01)


async def test_an_export_that_is_queued_again_while_it_still_ends_is_rendered(
    app: FastAPI, api: Api, make_video: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(Held):
        """It ends late, as an upload does that waits for R2's answer."""

        async def run(self, work: Work) -> dict[str, Any]:
            try:
                return await super().run(work)
            except asyncio.CancelledError:
                await ends.wait()
                raise

    ends = asyncio.Event()
    monkeypatch.setattr(runner, "STOP_SECONDS", 0.01)
    worker = hold(app, Slow())
    export = await started(api, make_video)
    await working(worker)
    await api.call("POST", f"/api/exports/{export}/cancel")
    await api.call("POST", f"/api/exports/{export}/retry", expect=202)
    worker.go.set()
    ends.set()
    assert (await api.over(f"/api/exports/{export}"))["status"] == "complete"
    assert worker.runs == 2


async def test_a_file_that_a_cancelled_call_stores_late_is_deleted_with_its_export(
    app: FastAPI, api: Api, make_video: Callable[..., bytes], store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "LATE_SECONDS", 0.2)

    class Late(Called):
        async def abandon(self, job: Job) -> None:
            asyncio.get_running_loop().call_later(0.1, asyncio.ensure_future, store.put_bytes(key, b"late"))

        async def discard(self, job: Job) -> None:
            await super().discard(job)
            await delete_result(store, job)

    worker = hold(app, Late())
    export = await started(api, make_video)
    key = f"{PREFIX}exports/{export}.mp4"
    await working(worker)
    await api.call("DELETE", f"/api/exports/{export}", expect=204)
    await store.called("put", key)
    async with asyncio.timeout(60):
        while key in stored(store):  # noqa: ASYNC110 - it is deleted by itself
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("outages", "status"), [(2, "complete"), (3, "failed")])
async def test_a_job_survives_an_outage_of_object_storage_in_the_middle_of_its_work(
    app: FastAPI,
    api: Api,
    make_video: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
    outages: int,
    status: str,
) -> None:
    monkeypatch.setattr(runner, "AGAIN", Policy(attempts=3, first=0.01))

    class Cut(Held):
        async def run(self, work: Work) -> dict[str, Any]:
            made = await super().run(work)
            if self.runs <= outages:
                raise StorageUnavailable("away")
            return made

    worker = hold(app, Cut())
    worker.go.set()
    game = await api.upload(make_video())
    export = (await api.export([await api.clip(game["id"], 0, 1)]))["id"]
    job = await api.over(f"/api/exports/{export}")
    assert (job["status"], worker.runs) == (status, 3)


async def test_a_job_ends_with_its_profile_and_leaves_no_call_behind(
    app: FastAPI, api: Api, make_video: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "BEAT_SECONDS", 0.01)
    worker = hold(app, Called())
    await started(api, make_video)
    await working(worker)
    await api.call("DELETE", "/api/profiles/main", expect=204)
    async with asyncio.timeout(60):
        while app.state.runner._tasks:  # noqa: ASYNC110 - the job ends by itself
            await asyncio.sleep(0.01)
    assert (worker.cancelled, set(worker.abandoned)) == (1, {"call-1"})


async def test_a_call_that_no_machine_knows_of_ends_with_its_profile(app: FastAPI, api: Api) -> None:
    worker = hold(app)
    await api.call("GET", "/api/exports")

    def released(connection: apsw.Connection) -> None:
        rows.create(connection, "e1", JobKind.EXPORT, "p", {"output_key": f"{PREFIX}exports/e1.mp4"})
        rows.claim(connection, "e1", "gone/a", time.time(), 30)
        rows.release(connection, "e1", "gone/a", "call-9")

    async with app.state.core.databases.session(CONTEXT) as session:
        await session.write(released)
    await api.call("DELETE", "/api/profiles/main", expect=204)
    async with asyncio.timeout(60):
        # The first request looks for unfinished jobs in the background. It may find this one and do the same.
        while (set(worker.abandoned), set(worker.discarded)) != ({"call-9"}, {"e1"}):  # noqa: ASYNC110 - in the background
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("deleted", ["export", "profile"])
async def test_the_file_of_a_job_that_ends_after_its_row_was_deleted_goes_too(
    app: FastAPI, api: Api, make_video: Callable[..., bytes], store: FakeStore, deleted: str
) -> None:
    """As on a Machine that was frozen, and hears of the deletion when it stores what it has rendered."""
    rendered = Stores(store)
    hold(app, rendered)
    export = await started(api, make_video)
    await working(rendered)
    core: Core = app.state.core
    if deleted == "profile":
        await core.profiles.delete(CONTEXT)
    else:
        async with core.databases.session(CONTEXT) as session:
            await session.write(lambda connection: rows.delete(connection, export))
    rendered.go.set()
    async with asyncio.timeout(60):
        while app.state.runner._tasks:  # noqa: ASYNC110 - the job ends by itself
            await asyncio.sleep(0.01)
    assert rendered.discarded == [export]
    assert f"{PREFIX}exports/{export}.mp4" not in stored(store)


async def test_the_file_of_an_export_that_was_cancelled_elsewhere_stays_for_a_retry(
    app: FastAPI, api: Api, make_video: Callable[..., bytes], store: FakeStore
) -> None:
    rendered = Stores(store)
    hold(app, rendered)
    export = await started(api, make_video)
    await working(rendered)
    async with app.state.core.databases.session(CONTEXT) as session:
        await session.write(lambda connection: rows.cancel(connection, export))
    rendered.go.set()
    async with asyncio.timeout(60):
        while app.state.runner._tasks:  # noqa: ASYNC110 - the job ends by itself
            await asyncio.sleep(0.01)
    assert rendered.discarded == []


class StoresLate(Stores):
    """One that is cancelled when R2 has its whole file: the upload ends with R2's answer."""

    async def run(self, work: Work) -> dict[str, Any]:
        try:
            return await super().run(work)
        except asyncio.CancelledError:
            await self._store.put_bytes(work.job.payload["output_key"], b"late")
            raise


@pytest.mark.parametrize("hears", ["at its end", "by its lease"])
async def test_the_preview_of_a_game_that_was_deleted_on_another_machine_leaves_no_file(
    app: FastAPI,
    api: Api,
    make_video: Callable[..., bytes],
    store: FakeStore,
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    hears: str,
) -> None:
    # It looks at its row at each beat. Where the end of the work is to come first, there is none.
    monkeypatch.setattr(runner, "BEAT_SECONDS", 0.05 if hears == "by its lease" else 3600.0)
    rendered = StoresLate(store)
    hold(app, rendered)
    game = (await api.upload(make_video()))["id"]
    await api.call("POST", f"/api/games/{game}/preview", expect=202)
    await until(lambda: api.call("GET", f"/api/games/{game}"), lambda seen: seen["preview"]["status"] == "processing")
    await working(rendered)

    async def delete(_: FastAPI, elsewhere: Api) -> None:
        await elsewhere.call("DELETE", f"/api/games/{game}", expect=204)

    await serve(store, make_settings(), delete)
    if hears == "at its end":
        rendered.go.set()
    async with asyncio.timeout(60):
        while app.state.runner._tasks:  # noqa: ASYNC110 - the job ends by itself
            await asyncio.sleep(0.01)
    assert rendered.cancelled == (hears == "by its lease")
    assert [key for key, (data, *_) in store.objects.items() if f"/games/{game}/" in key and data] == []


async def test_a_job_that_is_submitted_twice_runs_once(
    app: FastAPI, api: Api, make_video: Callable[..., bytes]
) -> None:
    worker = hold(app)
    export = await started(api, make_video)
    async with app.state.core.databases.session(CONTEXT) as session:
        job = await session.read(lambda connection: rows.required(connection, export, JobKind.EXPORT))
    app.state.runner.submit(CONTEXT, job)
    worker.go.set()
    await api.over(f"/api/exports/{export}")
    assert worker.runs == 1


async def serve(store: FakeStore, settings: Settings, use: Callable[[FastAPI, Api], Awaitable[T]]) -> T:
    """One process from start to stop."""
    app = create_app(settings, store)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="https://api.test") as client:
            headers = {"X-User-ID": "alice", "X-Profile-ID": "main"}
            await client.post("/api/profiles", json={"name": "Main", "id": "main"}, headers=headers)
            return await use(app, Api(client, headers, store))


async def test_a_restart_gives_the_job_back_and_the_next_process_finishes_it(
    make_settings: Callable[..., Settings], store: FakeStore, make_video: Callable[..., bytes]
) -> None:
    async def begin(app: FastAPI, api: Api) -> str:
        hold(app)
        return await started(api, make_video)

    async def resume(app: FastAPI, api: Api) -> Any:
        return await api.over(f"/api/exports/{export}")

    export = await serve(store, make_settings(), begin)
    job = await serve(store, make_settings(), resume)
    assert job["status"] == "complete"
    assert PREFIX + job["key"] in stored(store)


async def test_a_call_that_a_stopped_process_did_not_cancel_is_cancelled_by_the_next_one(
    make_settings: Callable[..., Settings],
    store: FakeStore,
    make_video: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Away(Called):
        async def abandon(self, job: Job) -> None:
            raise WorkFailed("Modal cannot be reached")

    monkeypatch.setattr(runner, "STOP_SECONDS", 0.01)

    async def cancel(app: FastAPI, api: Api) -> None:
        worker = hold(app, Away())
        export = await started(api, make_video)
        await working(worker)
        await api.call("POST", f"/api/exports/{export}/cancel")

    async def resume(app: FastAPI, api: Api) -> None:
        worker = hold(app)
        await api.call("GET", "/api/exports")
        async with asyncio.timeout(60):
            while worker.abandoned != ["call-1"]:  # noqa: ASYNC110 - in the background
                await asyncio.sleep(0.01)

    await serve(store, make_settings(), cancel)
    await serve(store, make_settings(), resume)


@pytest.mark.parametrize("first", ["delete", "cancel"])
async def test_the_call_of_a_deleted_export_is_cancelled_by_the_next_process_which_leaves_nothing(
    make_settings: Callable[..., Settings],
    store: FakeStore,
    make_video: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
    first: str,
) -> None:
    """The Machine that deleted the export died before it reached Modal."""

    class Away(Called):
        async def abandon(self, job: Job) -> None:
            raise WorkFailed("Modal cannot be reached")

    monkeypatch.setattr(runner, "STOP_SECONDS", 0.01)
    monkeypatch.setattr(runner, "LATE_SECONDS", 0.01)

    async def delete(app: FastAPI, api: Api) -> str:
        worker = hold(app, Away())
        export = await started(api, make_video)
        await working(worker)
        if first == "cancel":
            await api.call("POST", f"/api/exports/{export}/cancel")
        await api.call("DELETE", f"/api/exports/{export}", expect=204)
        return export

    async def resume(app: FastAPI, api: Api) -> None:
        worker = hold(app, Stores(store))
        await store.put_bytes(f"{PREFIX}exports/{export}.mp4", b"late")
        assert await api.call("GET", "/api/exports") == {"exports": []}
        assert await api.call("GET", "/api/extractions") == {"extractions": []}
        await api.call("GET", f"/api/extractions/{export}", expect=404)
        await api.call("DELETE", f"/api/exports/{export}", expect=404)

        core: Core = app.state.core

        async def look() -> Job | None:
            async with core.databases.session(CONTEXT) as session:
                return await session.read(lambda connection: rows.find(connection, export))

        assert await until(look, lambda job: job is None) is None
        assert set(worker.abandoned) == {"call-1"}
        assert [key for key in stored(store) if "/exports/" in key] == []

    export = await serve(store, make_settings(), delete)
    await serve(store, make_settings(), resume)


async def test_a_stop_that_cannot_give_a_job_back_ends_all_the_same(
    make_settings: Callable[..., Settings], store: FakeStore, make_video: Callable[..., bytes]
) -> None:
    async def begin(app: FastAPI, api: Api) -> tuple[str, list[asyncio.Task[None]]]:
        hold(app)
        export = await started(api, make_video)
        store.faults.append(Fault("put", StorageUnavailable("down"), key="/database/"))
        return export, list(app.state.runner._tasks.values())

    _, tasks = await serve(store, make_settings(SHUTDOWN_SECONDS="0.2"), begin)
    await asyncio.wait(tasks, timeout=60)
    assert all(task.done() for task in tasks)


async def test_pending_jobs_are_cleared_at_start_where_that_is_wanted(
    make_settings: Callable[..., Settings], store: FakeStore, make_video: Callable[..., bytes]
) -> None:
    async def begin(app: FastAPI, api: Api) -> str:
        hold(app)
        return await started(api, make_video)

    async def look(app: FastAPI, api: Api) -> Any:
        return await api.over(f"/api/exports/{export}")

    export = await serve(store, make_settings(), begin)
    job = await serve(store, make_settings(CLEAR_PENDING_JOBS_ON_STARTUP="true"), look)
    assert job["status"] == "failed"
    assert "CLEAR_PENDING_JOBS_ON_STARTUP" in job["reason"]


async def test_a_job_that_another_machine_holds_is_left_alone_until_its_lease_ends(app: FastAPI, api: Api) -> None:
    core: Core = app.state.core

    async def write(change: Callable[[Any], Any]) -> Any:
        async with core.databases.session(CONTEXT) as session:
            return await session.write(change)

    at = time.time()
    await write(lambda c: rows.create(c, "e1", JobKind.EXPORT, "p", {}))
    assert await write(lambda c: rows.claim(c, "e1", "one/a", at, 30)) is not None
    assert await write(lambda c: rows.claim(c, "e1", "two/b", at + 29, 30)) is None
    assert await write(lambda c: rows.claim(c, "e1", "one/later", at + 1, 30)) is not None
    assert await write(lambda c: rows.claim(c, "e1", "two/b", at + 32, 30)) is not None
    assert not await write(lambda c: rows.complete(c, "e1", "one/later", {}))
    assert await write(lambda c: rows.complete(c, "e1", "two/b", {"output_key": "a/b"}))


async def test_an_export_is_announced_complete_only_when_the_bucket_holds_the_row(
    app: FastAPI,
    api: Api,
    make_video: Callable[..., bytes],
    make_settings: Callable[..., Settings],
    store: FakeStore,
) -> None:
    worker = hold(app)
    export = await started(api, make_video)
    with app.state.runner.hub.listen(CONTEXT, JobKind.EXPORT) as events:
        worker.go.set()
        job = await asyncio.wait_for(events.get(), 120)
        while not job.status.over:
            job = await asyncio.wait_for(events.get(), 120)

    async def look(other: FastAPI, elsewhere: Api) -> Any:
        return await elsewhere.call("GET", f"/api/exports/{export}")

    # A process with an empty disk knows only what the bucket holds.
    assert (await serve(store, make_settings(), look))["status"] == "complete"


async def test_the_resource_shows_the_progress_of_this_moment(
    app: FastAPI, api: Api, make_video: Callable[..., bytes]
) -> None:
    worker = hold(app)
    export = await started(api, make_video)
    seen = await until(lambda: api.call("GET", f"/api/exports/{export}"), lambda job: job["progress"] > 0)
    assert (seen["progress"], seen["phase"]) == (0.5, "encode")
    worker.go.set()
    await api.over(f"/api/exports/{export}")


async def test_a_render_that_a_stop_ended_goes_on_behind_the_pieces_it_had(
    make_settings: Callable[..., Settings],
    store: FakeStore,
    make_video: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(render, "KEEP_SECONDS", 0.0)
    encoded: list[str] = []
    second = asyncio.Event()

    async def noted(command: Sequence[str], **options: Any) -> int:
        encoded.append(command[-1].rsplit("/", 1)[-1])
        if encoded.count("piece-001.mov") == 1 and encoded[-1] == "piece-001.mov":
            second.set()
            await asyncio.Event().wait()
        return await run_ffmpeg(command, **options)

    monkeypatch.setattr(render, "run_ffmpeg", noted)

    async def begin(app: FastAPI, api: Api) -> str:
        game = await api.upload(make_video())
        clips = [await api.clip(game["id"], 0, 1), await api.clip(game["id"], 0.5, 1)]
        export: str = (await api.export(clips))["id"]
        await asyncio.wait_for(second.wait(), 120)
        return export

    async def resume(app: FastAPI, api: Api) -> Any:
        return await api.over(f"/api/exports/{export}")

    export = await serve(store, make_settings(), begin)
    assert [key for key in stored(store) if ".pieces/" in key]
    job = await serve(store, make_settings(), resume)
    assert job["status"] == "complete"
    assert encoded == ["piece-000.mov", "piece-001.mov", "piece-001.mov", "reel.mp4"]
    assert job["duration"] == pytest.approx(1.5, abs=0.1)
    assert [key for key in stored(store) if ".pieces/" in key] == []


async def test_a_cancelled_render_leaves_no_pieces(
    app: FastAPI, api: Api, make_video: Callable[..., bytes], store: FakeStore
) -> None:
    worker = hold(app)
    worker.abandon = LocalWorker(store, Path("/nonexistent"), 1.0, "r").abandon  # type: ignore[method-assign]
    export = await started(api, make_video)
    await store.put_bytes(f"{PREFIX}exports/{export}.pieces/r/a.mov", b"x")
    await api.call("POST", f"/api/exports/{export}/cancel")
    assert [key for key in stored(store) if ".pieces/" in key] == []


@pytest.mark.parametrize("kind", ["export", "extraction"])
async def test_a_long_clip_that_a_stop_ended_goes_on_behind_the_pieces_it_had(
    make_settings: Callable[..., Settings],
    store: FakeStore,
    make_video: Callable[..., bytes],
    second_piece: SecondPiece,
    kind: str,
) -> None:
    async def begin(app: FastAPI, api: Api) -> str:
        clip = await api.clip((await api.upload(make_video()))["id"], 0, 3)
        if kind == "export":
            path = f"/api/exports/{(await api.export([clip]))['id']}"
        else:
            path = f"/api/extractions/{(await api.call('POST', f'/api/clips/{clip}/extract', expect=202))['id']}"
        await asyncio.wait_for(second_piece.begun.wait(), 120)
        return path

    async def resume(app: FastAPI, api: Api) -> Any:
        return await api.over(path)

    path = await serve(store, make_settings(), begin)
    assert len([key for key in stored(store) if ".pieces/" in key]) == 1
    job = await serve(store, make_settings(), resume)
    assert job["status"] == "complete"
    assert second_piece.encoded[2:-1] == ["piece-001.mov", "piece-002.mov"]
    assert job["duration"] == pytest.approx(3, abs=0.1)
    assert [key for key in stored(store) if ".pieces/" in key] == []


async def test_a_source_that_the_disk_has_no_room_for_fails_with_the_reason_and_leaves_no_file(
    app: FastAPI, api: Api, make_video: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_worker, "SPARE_BYTES", 1 << 60)
    game = await api.upload(make_video())
    export = (await api.export([await api.clip(game["id"], 0, 1)]))["id"]
    job = await api.over(f"/api/exports/{export}")
    assert job["status"] == "failed"
    assert "GB of disk" in job["reason"]
    core: Core = app.state.core
    assert list((core.settings.user_data_dir / ".work").iterdir()) == []


async def test_a_disk_that_becomes_full_fails_the_job_with_the_reason(
    api: Api, make_video: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, store: FakeStore
) -> None:
    async def full(key: str, path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "download", full)
    game = await api.upload(make_video())
    export = (await api.export([await api.clip(game["id"], 0, 1)]))["id"]
    assert "disk is full" in (await api.over(f"/api/exports/{export}"))["reason"]
