"""Jobs on Modal, with the calls answered here: found again by id, checked in the bucket before they count."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import modal
import modal.exception
import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from tests.backend.fakes import FakeStore

from app.jobs.models import Job, JobKind, JobStatus
from app.services import modal_client
from app.services.gpu_deploy import GpuDeploy
from app.services.local_worker import LocalWorker
from app.services.modal_client import CallLost, ModalClient
from app.services.modal_worker import ModalWorker
from app.services.worker import Work, WorkFailed
from app.settings import Settings
from reel.forms import without_defaults
from reel.payloads import ReelClip, RenderOptions, RenderProgress, RenderReel, RenderReelResult

OUT = "staging/users/u/profiles/p/exports/e1.mp4"
PAYLOAD = RenderReel("e1", OUT, (ReelClip("c", "staging/users/u/profiles/p/games/g/source.mp4", 0, 1),)).to_dict()
RESULT = RenderReelResult("e1", OUT, 3, 1.0, 1280, 720, "h264", "aac").to_dict()


class Answers(ModalClient):
    """A client whose control plane is this object."""

    def __init__(self, settings: Settings, known: dict[str, Any], store: FakeStore | None = None) -> None:
        """With a ``store`` a call puts its file there."""
        super().__init__(settings)
        object.__setattr__(self, "store", store)
        object.__setattr__(self, "known", known)
        object.__setattr__(self, "spawned", [])
        object.__setattr__(self, "cancelled", [])
        object.__setattr__(self, "earlier", None)

    earlier: str | Exception | None
    cancelled: list[str]
    known: dict[str, Any]
    store: FakeStore | None
    spawned: list[str]

    async def spawn(self, function: str, payload: dict[str, Any]) -> str:
        self.spawned.append(f"{function}-{len(self.spawned)}")
        if self.store is not None:
            await self.store.put_bytes(payload["output_key"], b"abc")
        return self.spawned[-1]

    async def result(
        self,
        function: str,
        call_id: str,
        *,
        deadline_s: float,
        on_wait: Callable[[], Awaitable[None]],
        on_outage: Callable[[], Awaitable[None]],
    ) -> dict[str, Any]:
        await on_wait()
        if self.known.get(call_id) == "away":
            await on_outage()
        if call_id not in self.known:
            raise CallLost(call_id)
        if isinstance(self.known[call_id], Exception):
            raise self.known[call_id]
        found: dict[str, Any] = self.known[call_id]
        return found

    async def progress(self, job_id: str) -> RenderProgress | None:
        return RenderProgress(0.4, "encode", 1.0)

    async def begun(self, output_key: str) -> str | None:
        assert output_key == OUT
        if isinstance(self.earlier, Exception):
            raise self.earlier
        return self.earlier

    async def cancel(self, call_id: str) -> None:
        assert self.spawned == [], "a call that begins now could be the one that is cancelled"
        self.cancelled.append(call_id)


def worker(store: FakeStore, client: ModalClient) -> ModalWorker:
    here = LocalWorker(store, client.settings.user_data_dir / ".work", 60, "release")
    return ModalWorker(store, client, 60, gpu=GpuDeploy(client), machine=here)


class Row:
    """What the worker told its job's row."""

    def __init__(self, call_id: str | None = None) -> None:
        self.calls: list[str | None] = []
        self.progress: list[float] = []
        job = Job(
            "e1", JobKind.EXPORT, "p", JobStatus.PROCESSING, 0, "", None, PAYLOAD, None, call_id, "m/p", 0, "", ""
        )
        self.work = Work(job, self.report, self.note)

    async def report(self, progress: float, phase: str, checkpoint: str | None = None) -> None:
        self.progress.append(progress)

    async def note(self, call_id: str | None) -> None:
        self.calls.append(call_id)


async def test_a_render_notes_its_call_and_counts_when_the_bucket_holds_the_file(
    settings: Settings, store: FakeStore
) -> None:
    row = Row()
    assert await worker(store, Answers(settings, {"render_reel-0": RESULT}, store)).run(row.work) == RESULT
    assert row.calls == ["render_reel-0"]
    assert 0.4 in row.progress


async def test_a_call_of_an_earlier_process_is_waited_for_and_not_made_again(
    settings: Settings, store: FakeStore
) -> None:
    class Late(Answers):
        async def result(self, function: str, call_id: str, **options: Any) -> dict[str, Any]:
            await store.put_bytes(OUT, b"abc")
            return await super().result(function, call_id, **options)

    client = Late(settings, {"old": RESULT})
    assert await worker(store, client).run(Row("old").work) == RESULT
    assert client.spawned == []


async def test_a_call_that_modal_forgot_is_made_again_once(settings: Settings, store: FakeStore) -> None:
    client = Answers(settings, {"render_reel-0": RESULT}, store)
    row = Row("forgotten")
    assert await worker(store, client).run(row.work) == RESULT
    assert row.calls == ["render_reel-0"]


@pytest.mark.parametrize("call", [None, "old"], ids=["no call", "a call"])
@pytest.mark.parametrize("known", [{}, {"old": WorkFailed("the container is gone")}], ids=["forgotten", "failed"])
async def test_a_render_whose_file_is_in_the_bucket_is_complete_whatever_became_of_its_call(
    settings: Settings, store: FakeStore, known: dict[str, Any], call: str | None
) -> None:
    await store.put_bytes(OUT, b"abc")
    client, row = Answers(settings, known), Row(call)
    made = await worker(store, client).run(row.work)
    assert {name: made[name] for name in ("output_key", "size_bytes", "duration_s")} == {
        "output_key": OUT,
        "size_bytes": 3,
        "duration_s": 1.0,
    }
    assert client.spawned == []


async def test_a_render_whose_file_is_stored_while_modal_is_away_is_complete(
    settings: Settings, store: FakeStore
) -> None:
    class Away(Answers):
        async def progress(self, job_id: str) -> RenderProgress | None:
            await store.put_bytes(OUT, b"abc")
            return None

    assert (await worker(store, Away(settings, {"old": "away"})).run(Row("old").work))["size_bytes"] == 3


async def test_a_render_that_is_cancelled_while_its_call_begins_leaves_no_call(
    settings: Settings, store: FakeStore
) -> None:
    asked, answer, cancelled = asyncio.Event(), asyncio.Event(), []

    class Slow(Answers):
        async def spawn(self, function: str, payload: dict[str, Any]) -> str:
            asked.set()
            await answer.wait()
            return "new"

        async def cancel(self, call_id: str) -> None:
            cancelled.append(call_id)

    running = asyncio.ensure_future(worker(store, Slow(settings, {})).run(Row().work))
    await asked.wait()
    running.cancel()
    answer.set()
    await asyncio.wait([running])
    assert running.cancelled()
    assert cancelled == ["new"]


@pytest.mark.parametrize(
    ("earlier", "cancelled"), [("unknown", ["unknown"]), (None, []), (WorkFailed("Modal cannot be reached"), [])]
)
async def test_a_call_that_a_killed_machine_did_not_store_is_cancelled_before_a_new_one_begins(
    settings: Settings, store: FakeStore, earlier: str | Exception | None, cancelled: list[str]
) -> None:
    client, row = Answers(settings, {"render_reel-0": RESULT}, store), Row()
    object.__setattr__(client, "earlier", earlier)
    assert await worker(store, client).run(row.work) == RESULT
    assert (client.cancelled, row.calls) == (cancelled, ["render_reel-0"])


@pytest.mark.parametrize(("stored", "read"), [("fc-1", "fc-1"), (None, None), ({"newer": "form"}, None)])
async def test_the_id_of_a_call_is_read_as_the_function_stored_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, stored: Any, read: str | None
) -> None:
    async def get(key: str) -> Any:
        return {f"{OUT}/call": stored}[key]

    entries = SimpleNamespace(get=SimpleNamespace(aio=get))
    sdk = SimpleNamespace(Dict=SimpleNamespace(from_name=lambda name, create_if_missing: entries))
    monkeypatch.setattr(ModalClient, "_modal", lambda _: sdk)
    assert await ModalClient(settings).begun(OUT) == read


async def test_the_machine_renders_nothing_whose_file_is_in_the_bucket(settings: Settings, store: FakeStore) -> None:
    await store.put_bytes(OUT, b"abc")
    here = LocalWorker(store, settings.user_data_dir / ".work", 60, "release")
    assert (await here.run(Row().work))["size_bytes"] == 3
    assert store.count("upload") == 0


async def test_progress_that_does_not_come_keeps_no_result_waiting(settings: Settings, store: FakeStore) -> None:
    class Silent(Answers):
        async def progress(self, job_id: str) -> RenderProgress | None:
            await asyncio.Event().wait()
            raise AssertionError

    async with asyncio.timeout(60):
        assert await worker(store, Silent(settings, {"render_reel-0": RESULT}, store)).run(Row().work) == RESULT


@pytest.mark.parametrize("options", [RenderOptions(), RenderOptions(aspect="1:1")])
def test_a_gpu_deploy_that_lacks_a_field_can_do_what_does_not_need_it(options: RenderOptions) -> None:
    reel = RenderReel("e1", OUT, (ReelClip("c", "staging/users/u/profiles/p/games/g/source.mp4", 0, 1),), options)
    sent = without_defaults(reel)
    assert RenderReel.from_dict(sent) == reel
    assert sent.get("options") == ({"aspect": "1:1"} if options.aspect == "1:1" else None)


class Calls:
    """Modal's SDK as far as a call is asked for: the answers to come, in order; the last one stays."""

    exception = modal.exception

    def __init__(self, *answers: Any) -> None:
        self.answers, self.cancelled = list(answers), 0
        self.FunctionCall = self

    def from_id(self, call_id: str) -> Calls:
        return self

    @property
    def get(self) -> Any:
        return SimpleNamespace(aio=self._get)

    @property
    def cancel(self) -> Any:
        return SimpleNamespace(aio=self._cancel)

    async def _get(self, timeout: float) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _cancel(self) -> None:
        self.cancelled += 1


async def asked(settings: Settings, calls: Calls, monkeypatch: pytest.MonkeyPatch, deadline_s: float = 600) -> Any:
    async def on_wait() -> None:
        await asyncio.sleep(0.01)

    monkeypatch.setattr(ModalClient, "_modal", lambda _: calls)
    monkeypatch.setattr(modal_client, "POLL_SECONDS", 0.01)
    return await ModalClient(settings).result(
        "render_reel", "old", deadline_s=deadline_s, on_wait=on_wait, on_outage=on_wait
    )


@pytest.mark.parametrize(
    "error",
    [
        modal.exception.ConnectionError("gone"),
        modal.exception.ServiceError("502"),
        GRPCError(Status.UNAVAILABLE, "away"),
        StreamTerminatedError("reset"),
        ConnectionResetError("reset"),
    ],
)
async def test_a_second_without_modal_fails_no_render(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    calls = Calls(TimeoutError(), error, error, TimeoutError(), RESULT)
    assert await asked(settings, calls, monkeypatch) == RESULT
    assert calls.cancelled == 0


class Spawns:
    """Modal's SDK as far as calls are begun: the errors to come, in order; the last one stays."""

    exception = modal.exception

    def __init__(self, *errors: Exception | None) -> None:
        self.errors, self.tries = list(errors), 0
        self.Function = self

    def from_name(self, app: str, function: str) -> Any:
        return SimpleNamespace(spawn=SimpleNamespace(aio=self._spawn))

    async def _spawn(self, payload: dict[str, Any]) -> Any:
        self.tries += 1
        error = self.errors.pop(0) if len(self.errors) > 1 else self.errors[0]
        if error is not None:
            raise error
        return SimpleNamespace(object_id="fc-1")

    async def begun(self, settings: Settings, monkeypatch: pytest.MonkeyPatch, seconds: float = 600) -> str:
        monkeypatch.setattr(ModalClient, "_modal", lambda _: self)
        monkeypatch.setattr(modal_client, "POLL_SECONDS", 0.01)
        monkeypatch.setattr(modal_client, "SPAWN_SECONDS", seconds)
        return await ModalClient(settings).spawn("render_reel", PAYLOAD)


@pytest.mark.parametrize(
    "error",
    [
        modal.exception.ConnectionError("refused"),
        modal.exception.ServiceError("502"),
        modal.exception.ResourceExhaustedError("no capacity"),
        ConnectionResetError("reset"),
    ],
)
async def test_a_second_without_modal_keeps_no_render_from_beginning(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    sdk = Spawns(error, error, error, None)
    assert await sdk.begun(settings, monkeypatch) == "fc-1"
    assert sdk.tries == 4


async def test_a_longer_outage_of_modal_fails_the_render(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = Spawns(modal.exception.ConnectionError("refused"))
    # A clock that shows a second more each time that it is read.
    monkeypatch.setattr(modal_client, "time", SimpleNamespace(monotonic=itertools.count().__next__))
    with pytest.raises(WorkFailed, match="Modal cannot be reached"):
        await sdk.begun(settings, monkeypatch, seconds=3)
    assert sdk.tries == 3


@pytest.mark.parametrize("error", [modal.exception.AuthError("token"), modal.exception.NotFoundError("no function")])
async def test_what_no_second_try_mends_fails_the_render_at_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    sdk = Spawns(error)
    with pytest.raises(WorkFailed, match=r"Modal refused the token|Modal has no function"):
        await sdk.begun(settings, monkeypatch)
    assert sdk.tries == 1


@pytest.mark.parametrize("error", [modal.exception.RemoteError("died"), ValueError("from the function")])
async def test_what_the_function_raised_ends_the_render(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    with pytest.raises(WorkFailed, match="failed on Modal"):
        await asked(settings, Calls(error, RESULT), monkeypatch)


@pytest.mark.parametrize("answer", [TimeoutError(), modal.exception.ConnectionError("gone")])
async def test_a_deadline_ends_the_call_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, answer: Exception
) -> None:
    calls = Calls(answer)
    with pytest.raises(WorkFailed, match="did not answer render_reel"):
        await asked(settings, calls, monkeypatch, deadline_s=0.2)
    assert calls.cancelled == 1


@pytest.mark.parametrize(
    ("data", "result", "reason"),
    [
        (None, RESULT, "not in the bucket"),
        (b"ab", RESULT, "2 bytes"),
        (None, {**RESULT, "output_key": "exports/e1.mp4"}, "expected staging/"),
        (None, {}, "missing 'export_id'"),
    ],
)
async def test_a_result_that_the_bucket_does_not_bear_out_is_a_failure(
    settings: Settings, store: FakeStore, data: bytes | None, result: dict[str, Any], reason: str
) -> None:
    class Late(Answers):
        async def result(self, function: str, call_id: str, **options: Any) -> dict[str, Any]:
            if data is not None:
                await store.put_bytes(OUT, data)
            return await super().result(function, call_id, **options)

    with pytest.raises(WorkFailed, match=reason):
        await worker(store, Late(settings, {"old": result})).run(Row("old").work)
    assert OUT not in store.keys(), "a retry would take it for its result"  # noqa: SIM118


@pytest.mark.parametrize("result", [{}, {**RESULT, "output_key": "exports/e1.mp4"}])
async def test_a_file_in_the_bucket_counts_whatever_form_the_answer_has(
    settings: Settings, store: FakeStore, result: dict[str, Any]
) -> None:
    client = Answers(settings, {"render_reel-0": result}, store)
    assert (await worker(store, client).run(Row().work))["size_bytes"] == 3
