"""The app's longest work, in the background or on a GPU: it ends, it says how, and what it made is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from typing import Any

from parity.checks import Fault, Named, Proxy, Wrap, check
from parity.checks.bucket import Bucket
from parity.checks.faults import Faults
from parity.checks.generic.support import PATIENCE_S, not_declared, probed
from parity.checks.machines import Machines
from parity.checks.person import Person
from parity.checks.stack import Stack
from parity.contract import Job, JobState, Refused
from parity.wraps import boot

LOOK_S = 0.3
# No answer, and one that nobody meant.
NOT_A_REFUSAL = (0, 500)


async def begun(person: Person, video: bytes) -> Job:
    """The job, after an upload where the contract has one."""
    if person.can("upload"):
        await person.app.upload(video)
    return await person.app.job()


async def ended(job: Job, *, refusals_within_s: float = 0.0) -> JobState:
    """Its last state: running where it did not end in time. Refused questions are repeated for so many seconds."""
    end, patient = time.monotonic() + job.done_s + PATIENCE_S, time.monotonic() + refusals_within_s
    state = JobState("running")
    while state.at == "running" and time.monotonic() < end:
        try:
            state = await job.state()
        except Refused:
            if time.monotonic() > patient:
                raise
        await asyncio.sleep(LOOK_S)
    return state


def elsewhere(key: str, objects: Collection[str]) -> str:
    """What to do about an object that is missing: one of the same name may lie in another place."""
    name = key.rpartition("/")[2]
    found = next((other for other in objects if other.rpartition("/")[2] == name), "")
    if found:
        return f"it lies at {found}. The app and the function must build keys alike, from the environment on"
    return "say so once R2 has acknowledged it"


def still_running(job: Job) -> str:
    waited_s = job.done_s + PATIENCE_S
    return f"{waited_s:g} s after it was begun (Job.done_s) the job is still running: the person waits for ever"


@check(
    "G",
    "When a job is called done, all that it made is in the bucket",
    broken=Named("job_fails", otherwise=Fault("modal", kind="function", target="*", status="FAILURE", times=-1)),
    because="ended as failed|is not in the bucket",
    needs=("job", "ffmpeg"),
    rests_on=("test_someone_new_can_come",),
    deadline_s=300,
)
async def test_job_done(person: Person, bucket: Bucket, video: bytes) -> None:
    """Say done only after R2 has acknowledged every output."""
    job = await begun(person, video)
    state = await ended(job)
    there = {key: await bucket.read(key) for key in state.keys if key in await bucket.objects(key)}
    assert state.at != "running", still_running(job)
    assert state.at == "done", f"the job ended as failed: {state.reason or 'without a reason'}"
    gone = [key for key in state.keys if key not in there]
    assert not gone, (
        f"the job is called done, and {gone[0]} is not in the bucket: {elsewhere(gone[0], await bucket.objects())}"
    )
    empty = [key for key, data in there.items() if not data]
    assert not empty, (
        f"the job is called done, and {empty[0]} is empty: the person downloads nothing. Check the size before you say"
        " so"
    )


@check(
    "G",
    "A job whose GPU function fails, or dies with its container, ends as failed with a reason, or is done after all",
    broken=Proxy("first_answer_kept"),
    because="is still running",
    needs=("job", "gpu", "ffmpeg"),
    rests_on=("test_job_done",),
    alone=True,
    deadline_s=600,
)
async def test_job_fails_with_a_reason(person: Person, faults: Faults, video: bytes) -> None:
    """Catch what the call raises, and store failed with a reason that a person understands."""
    failures: list[dict[str, Any]] = [
        {"kind": "function", "target": "*", "status": "FAILURE", "message": "RuntimeError('by the harness')"},
        {"kind": "container", "target": "*", "times": 1},
        # The GPU code was deployed under another name, or not at all.
        {"kind": "rpc", "target": "FunctionGet", "status": "NOT_FOUND", "must_fire": False},
    ]
    for what in failures:
        async with faults.modal(**{"times": -1, **what}):
            try:
                job = await begun(person, video)
            except Refused as refused:
                if refused.status in NOT_A_REFUSAL:
                    raise
                continue  # a person who is refused at once waits for nothing
            state = await ended(job)
        assert state.at != "running", still_running(job)
        if what["kind"] == "function":
            assert state.at == "failed", (
                "the GPU function failed each time, and the job is called done: the person looks for a result that is"
                " not there. Look at the call's result before you say so"
            )
        assert state.at == "done" or state.reason, (
            "the job ended as failed without a reason: the person cannot know whether to try again. Store why it failed"
        )


@check(
    "G",
    "While Modal is away a job is refused, or ends as failed: it never stays queued",
    broken=Proxy("first_answer_kept"),
    because="is still running",
    needs=("job", "gpu", "ffmpeg"),
    rests_on=("test_job_done",),
    alone=True,
    deadline_s=400,
)
async def test_job_without_modal(person: Person, faults: Faults, video: bytes) -> None:
    """Give the call a deadline of your own, and end the job as failed when it passes."""
    if person.can("upload"):
        await person.app.upload(video)
    async with faults.modal(kind="rpc", target="*", status="UNAVAILABLE", times=-1):
        try:
            job = await person.app.job()
        except Refused:
            return
        state = await ended(job)
    assert state.at != "running", still_running(job)
    assert state.at == "done" or state.reason, (
        "with Modal away the job ended as failed without a reason: the person cannot know whether to try again"
    )


@check(
    "G",
    "A job survives a short outage of Modal",
    broken=Fault("modal", kind="rpc", target="*", status="UNAVAILABLE", times=-1),
    because="ended as failed|answered",
    needs=("job", "gpu", "ffmpeg"),
    rests_on=("test_job_done",),
    alone=True,
    deadline_s=300,
)
async def test_job_over_a_moment_without_modal(person: Person, faults: Faults, video: bytes) -> None:
    """Treat a connection error as 'not known yet' until your own deadline."""
    asking: dict[str, Any] = {"target": "FunctionGetOutputs", "status": "UNAVAILABLE"}
    # Armed before the job begins: one request for the result may wait until the result is there.
    async with faults.modal(kind="rpc", times=3, must_fire=False, **asking) as away:
        job = await begun(person, video)
        state = await ended(job)
    assert state.at != "running", still_running(job)
    assert state.at == "done", (
        f"Modal did not answer {away.fired} requests for the result of a call that went on, and the job ended as failed"
        f" ({state.reason}): a connection error is not a failed call; ask again until your own deadline"
    )
    if not away.fired:
        not_declared("nothing asked Modal for the result while it was away")


@check(
    "I",
    "A job ends although its Machine was stopped in the middle, and says how",
    broken=Proxy("first_answer_kept"),
    because="is still running",
    needs=("job", "ffmpeg"),
    rests_on=("test_job_done", "test_durable"),
    alone=True,
    deadline_s=400,
)
async def test_job_over_a_restart(person: Person, machines: Machines, video: bytes) -> None:
    """Store the call's id, and ask for its result again after a start."""
    job = await begun(person, video)
    if (await job.state()).at != "running":
        not_declared("the job was over before its Machine could be stopped")
    # More than once: a worker that had not taken the job yet is not interrupted by its first restart.
    for pause_s in (0.0, 3.0, 3.0):
        await asyncio.sleep(pause_s)
        if not await machines.restart_workers():
            break
    machine = await machines.first()
    await machines.stop(machine)
    await machines.first()
    state = await ended(job, refusals_within_s=PATIENCE_S)
    assert state.at != "running", (
        f"{still_running(job)}. Its Machines were stopped in the middle: what a process knows in memory ends with it"
    )
    assert state.at == "done" or state.reason, (
        "after a restart in the middle the job ended as failed without a reason: the person cannot know whether to try"
        " again"
    )


@check(
    "G",
    "A job copes with GPU code of another release: more fields in a result are ignored, fewer end the job",
    broken=Fault("modal", kind="function", target="*", status="FAILURE", times=-1),
    because="returns one more field",
    needs=("job", "gpu", "ffmpeg"),
    rests_on=("test_job_done",),
    alone=True,
    deadline_s=500,
)
async def test_job_with_other_gpu_code(person: Person, faults: Faults, video: bytes) -> None:
    """Ignore fields of a result that are unknown, and end the job as failed where one is missing."""
    async with faults.modal(kind="result", target="*", times=-1, fields={"added_later": 1}, must_fire=False) as newer:
        job = await begun(person, video)
        state = await ended(job)
    assert state.at == "done", (
        f"newer GPU code, which returns one more field, makes the job end as {state.at}"
        f" ({state.reason or 'without a reason'}). A promotion deploys the GPU functions before the app, so every job"
        " in between would end so: ignore unknown fields"
    )
    if not newer.fired:
        not_declared("no GPU function gave this job a dict of plain values as its result")
    async with faults.modal(kind="result", target="*", times=-1, fields={"*": None}):
        job = await begun(person, video)
        try:
            state = await ended(job)
        except Refused as refused:
            raise AssertionError(
                f"with older GPU code, whose result lacks fields, the job's state cannot be asked any more: {refused}."
                " Check a result before it is stored"
            ) from None
    assert state.at != "running", f"with older GPU code, whose result lacks fields, {still_running(job)}"
    assert state.at == "done" or state.reason, (
        "with older GPU code, whose result lacks fields, the job ended as failed without a reason: the person cannot"
        " know whether to try again"
    )


@check(
    "L",
    "While a job runs on a real video the Machine stays up, and answers its health check",
    broken=Wrap(boot.blocking, {"seconds": 8.0}),
    because="is not answered|ended by itself",
    needs=("job", "ffmpeg"),
    rests_on=("test_job_done",),
    alone=True,
    deadline_s=400,
)
async def test_machine_survives_a_job(person: Person, machines: Machines, stack: Stack, video: bytes) -> None:
    """Run the work in a process of its own with bounded memory, outside of the event loop."""
    checks = stack.site.project.fly.service.checks
    timeout_s = min([one.timeout_s for one in checks], default=5.0)
    machine = await machines.first()
    before = len((await machines.get(machine))["events"])
    working = asyncio.create_task(whole_job(person, video))
    late: list[str] = []
    while not working.done():
        try:
            answer = await asyncio.wait_for(probed(stack, machine), timeout_s)
        except TimeoutError:
            answer = "nothing"
        late += [] if answer.startswith("2") else [answer]
        await asyncio.sleep(LOOK_S)
    events = (await machines.get(machine))["events"][before:]
    crashed = [event for event in events if event.get("crashed") or event.get("oom_killed")]
    memory = stack.site.project.fly.machine.memory_mb
    assert not crashed, (
        "the Machine ended by itself during the job (exit code"
        f" {crashed[0].get('exit_code')}{', out of memory' if crashed[0].get('oom_killed') else ''}): fly.toml gives it"
        f" {memory} MB"
    )
    assert not late, (
        f"during the job the health check is not answered within {timeout_s:g} s ({len(late)} times: {late[0]}): Fly"
        " would stop routing to the Machine. Move the work out of the event loop"
    )
    state = await working
    assert state.at == "done", f"the job ended as {state.at}: {state.reason}"


async def whole_job(person: Person, video: bytes) -> JobState:
    return await ended(await begun(person, video))
