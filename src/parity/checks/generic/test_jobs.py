"""The app's long work, in the background or on a GPU: every job ends, says how it ended, and its output is in R2."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from parity.checks import Fault, Named, Proxy, Wrap, check, patience
from parity.checks.bucket import Bucket
from parity.checks.faults import Faults
from parity.checks.generic.support import PATIENCE_S, as_refused, not_declared, not_shown, not_taken, probed_in_time
from parity.checks.machines import Machines, unwanted_end
from parity.checks.person import Person
from parity.checks.stack import Stack
from parity.contract import Job, JobState, Refused
from parity.wraps import boot

LOOK_S = 0.3
# Seconds by which each answer of R2 is late, so that a job lasts.
LATE_S = 1.0
# When a job is interrupted, as shares of the time that it takes: in its middle, and as soon as it is accepted.
INTERRUPTED_AT = (0.5, 0.0)
# Statuses of a failure that is not a refusal: no answer (0), or an exception in the app (500).
NOT_A_REFUSAL = (0, 500)


async def begun(person: Person, video: bytes) -> Job:
    """Upload the video, where the contract can, and begin the job."""
    if person.can("upload"):
        await person.app.upload(video)
    return await person.app.job()


@asynccontextmanager
async def lasting(person: Person, video: bytes, faults: Faults) -> AsyncIterator[Job]:
    """A job that has begun and goes on.

    Where the first one is over at once, R2 answers late inside the block, so that another one lasts longer. Raises
    ``NotShown`` where that one is over at once too.
    """
    job = await begun(person, video)
    if (await answered_state(job)).at == "running":
        yield job
        return
    async with faults.on(delay=LATE_S, must_fire=False):
        job = await begun(person, video)
        if (await answered_state(job)).at != "running":
            not_shown(
                f"a job is over when its acceptance is answered, even while each answer of R2 comes {LATE_S:g} s late:"
                " it has no middle in which its Machine could end"
            )
        yield job


async def ended(job: Job, *, refusals_within_s: float = 0.0) -> JobState:
    """Wait until the job ends, at most ``done_s`` and ``PATIENCE_S`` seconds, and return its last state.

    The state is still ``running`` where the job did not end in time. A refused request for the state is repeated for
    ``refusals_within_s`` seconds, then its ``Refused`` is raised.
    """
    end, refusals = patience.Deadline(job.done_s + PATIENCE_S), patience.Deadline(refusals_within_s)
    state = JobState("running")
    while state.at == "running" and not end.passed:
        try:
            state = await job.state()
        except Refused:
            if refusals.passed:
                raise
        await asyncio.sleep(LOOK_S)
    return state


async def time_taken(person: Person, machines: Machines, video: bytes) -> float:
    """How many seconds a job takes that nothing interrupts, once every worker is up and takes a job at once.

    A worker that has just started may need longer for that than for the job, so the first job of workers is not timed.
    """
    for _ in range(2 if await machines.stack.admin("GET", "/fly/groups") else 1):
        job = await begun(person, video)
        began = time.monotonic()
        state = await ended(job)
        assert state.at != "running", still_running(job)
    return time.monotonic() - began


async def answered_state(job: Job) -> JobState:
    """Its state; asked again for a while where that is refused, as by a Machine that has just started."""
    patient = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await job.state()
        except Refused:
            if time.monotonic() > patient:
                raise
        await asyncio.sleep(LOOK_S)


def elsewhere(key: str, objects: Collection[str]) -> str:
    """Advice about a missing object, which names an object that only the first part of its key tells from it.

    One that merely has the same file name may be another object of the job, such as the record of its state.
    """
    wanted = {key, below_first(key)} - {""}
    found = next((other for other in objects if wanted & {other, below_first(other)}), "")
    if found:
        return f"it lies at {found}. The app and the GPU function must build the same key, environment included"
    return "call a job done only when R2 has acknowledged its output"


def below_first(key: str) -> str:
    """The key without its first part, which often is the environment; empty for a key of one part."""
    return key.partition("/")[2]


def assert_says_why(state: JobState, when: str) -> None:
    """Assert that a job which ended as failed tells the person a reason."""
    assert state.at == "done" or state.reason, (
        f"{when} the job ended as failed without a reason: the person cannot know whether to try again. Store the"
        " reason"
    )


def still_running(job: Job) -> str:
    """The message for a job that did not end in time."""
    waited_s = job.done_s + PATIENCE_S
    return (
        f"{waited_s:g} s after it began the job is still running (Job.done_s of the contract is {job.done_s:g} s), so"
        " the person waits without end"
    )


async def said_by_workers(machines: Machines) -> str:
    """The last log lines of the Machines of other process groups; empty without such groups."""
    found = ""
    for worker in await machines.stack.admin("GET", "/fly/groups"):
        last = " | ".join([line.strip() for line in await machines.logs(worker["id"]) if line.strip()][-3:])
        found += f". The Machine of group {worker['group']} is {worker['state']}; its last log lines: {last or 'none'}"
    return found


@check(
    "G",
    "When the app calls a job done, all its output is in the bucket",
    broken=Named("job_fails", otherwise=Fault("modal", kind="function", target="*", status="FAILURE", times=-1)),
    because="the job ended as failed: |is called done, and .* is not in the bucket",
    needs=("job", "ffmpeg"),
    rests_on=("test_someone_new_can_come",),
    deadline_s=300,
)
async def test_job_done(person: Person, machines: Machines, bucket: Bucket, stack: Stack, video: bytes) -> None:
    """Call a job done only after R2 has acknowledged every output."""
    since = time.time()
    job = await begun(person, video)
    state = await ended(job)
    there = {key: await bucket.read(key) for key in state.keys if key in await bucket.objects(key)}
    if state.at == "running":
        raise AssertionError(still_running(job) + await said_by_workers(machines))
    wrong = (await not_taken(stack, since))[0] if state.at == "failed" else []
    cause = f" R2 refuses {as_refused(wrong[0])}" if wrong else ""
    assert state.at == "done", (
        f"the job ended as failed: {state.reason or 'without a reason'}. Its input is a valid video and no fault is in"
        f" force; modal-calls.json and the Machine's log have the cause.{cause}"
    )
    gone = [key for key in state.keys if key not in there]
    assert not gone, (
        f"the job is called done, and {gone[0]} is not in the bucket: {elsewhere(gone[0], await bucket.objects())}"
    )
    empty = [key for key, data in there.items() if not data]
    assert not empty, (
        f"the job is called done, and {empty[0]} is empty: the person downloads an empty file. Check the size before"
        " you call a job done"
    )


@check(
    "G",
    "When a GPU function fails or its container dies, the job ends as failed with a reason, or a retry completes it",
    broken=Proxy("first_answer_kept", everywhere=True),
    because="is still running",
    needs=("job", "gpu", "ffmpeg"),
    rests_on=("test_job_done",),
    alone=True,
    deadline_s=600,
)
async def test_job_fails_with_a_reason(person: Person, faults: Faults, video: bytes) -> None:
    """Catch the exceptions of the call, and store the job as failed with a reason that a person understands."""
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
                continue  # an immediate refusal is a good outcome: the person does not wait
            state = await ended(job)
        assert state.at != "running", still_running(job)
        if what["kind"] == "function":
            assert state.at == "failed", (
                "the GPU function failed each time, and yet the job is called done: the person looks for a result that"
                " does not exist. Check the result of the call before you call a job done"
            )
        assert_says_why(state, "where the GPU function fails")


@check(
    "G",
    "While Modal is unavailable, a job is refused or ends as failed, and never stays queued",
    broken=Proxy("first_answer_kept", everywhere=True),
    because="is still running",
    needs=("job", "gpu", "ffmpeg"),
    rests_on=("test_job_done",),
    alone=True,
    deadline_s=400,
)
async def test_job_without_modal(person: Person, faults: Faults, video: bytes) -> None:
    """Set a deadline for the call in the app, and end the job as failed when it passes."""
    if person.can("upload"):
        await person.app.upload(video)
    async with faults.modal(kind="rpc", target="*", status="UNAVAILABLE", times=-1):
        try:
            job = await person.app.job()
        except Refused:
            return
        state = await ended(job)
    assert state.at != "running", still_running(job)
    assert_says_why(state, "with Modal unavailable")


@check(
    "G",
    "A job survives a short outage of Modal",
    broken=Fault("modal", kind="rpc", target="*", status="UNAVAILABLE", times=-1),
    because="and the job (ended as failed|was refused)",
    needs=("job", "gpu", "ffmpeg"),
    rests_on=("test_job_done",),
    alone=True,
    deadline_s=300,
)
async def test_job_over_a_moment_without_modal(person: Person, faults: Faults, video: bytes) -> None:
    """Treat a connection error as 'result not known yet', and retry until a deadline of the app."""
    asking: dict[str, Any] = {"target": "FunctionGetOutputs", "status": "UNAVAILABLE"}
    # The fault begins before the job: a single request for the result may stay open until the result exists.
    async with faults.modal(kind="rpc", times=3, must_fire=False, **asking) as away:
        try:
            job = await begun(person, video)
        except Refused as refused:
            raise AssertionError(
                f"Modal answered requests for the result with UNAVAILABLE, and the job was refused: {refused}. Begin"
                " the job, and retry the request until a deadline of the app"
            ) from None
        state = await ended(job)
    assert state.at != "running", still_running(job)
    assert state.at == "done", (
        f"Modal answered {away.fired} requests for the result with UNAVAILABLE while the call went on, and the job"
        f" ended as failed ({state.reason}). A connection error does not mean that the call failed: retry the request"
        " until a deadline of the app"
    )
    if not away.fired:
        not_declared("the app requested no result from Modal during the outage")


@check(
    "I",
    "A job whose Machine is stopped in the middle still ends, as done or as failed with a reason",
    broken=Proxy("first_answer_kept", everywhere=True),
    because="is still running",
    needs=("job", "ffmpeg"),
    rests_on=("test_job_done", "test_durable"),
    alone=True,
    deadline_s=600,
)
async def test_job_over_a_restart(person: Person, machines: Machines, faults: Faults, video: bytes) -> None:
    """Store the id of the call, and request its result again after a start."""
    took_s = await time_taken(person, machines, video)
    for share in INTERRUPTED_AT:
        async with lasting(person, video, faults) as job:
            await asyncio.sleep(share * took_s)
            await machines.restart_workers()
            await machines.stop(await machines.first())
        await machines.first()
        state = await ended(job, refusals_within_s=PATIENCE_S)
        assert state.at != "running", (
            f"{still_running(job)}. Its Machines were stopped in the middle, and a process's memory ends with it: store"
            " the id of the call, and request its result again after a start"
        )
        assert_says_why(state, "after a restart in the middle")


@check(
    "G",
    "A job accepts GPU results with an added field, and ends as done or failed when fields are missing",
    broken=Fault("modal", kind="function", target="*", status="FAILURE", times=-1),
    because="returns one more field",
    needs=("job", "gpu", "ffmpeg"),
    rests_on=("test_job_done",),
    alone=True,
    deadline_s=500,
)
async def test_job_with_other_gpu_code(person: Person, faults: Faults, video: bytes) -> None:
    """Ignore unknown fields of a result, and end the job as failed where a field is missing."""
    async with faults.modal(kind="result", target="*", times=-1, fields={"added_later": 1}, must_fire=False) as newer:
        job = await begun(person, video)
        state = await ended(job)
    assert state.at == "done", (
        f"newer GPU code, which returns one more field, makes the job end as {state.at}"
        f" ({state.reason or 'without a reason'}). A promotion deploys the GPU functions before the app, so every job"
        " in between would fail: ignore unknown fields of a result"
    )
    if not newer.fired:
        not_declared("no GPU function of this job returns a dict of plain values, so no field can be added or removed")
    async with faults.modal(kind="result", target="*", times=-1, fields={"*": None}):
        job = await begun(person, video)
        try:
            state = await ended(job)
        except Refused as refused:
            raise AssertionError(
                f"with older GPU code, whose result lacks fields, the app no longer answers what the job's state is:"
                f" {refused}. Validate a result before you store it"
            ) from None
    assert state.at != "running", f"with older GPU code, whose result lacks fields, {still_running(job)}"
    assert_says_why(state, "with older GPU code, whose result lacks fields,")


@check(
    "L",
    "While a job works on a real video, the Machine does not crash and answers its health check in time",
    broken=Wrap(boot.blocking, {"seconds": 8.0}),
    because="is not answered within|did not keep running",
    needs=("job", "ffmpeg"),
    rests_on=("test_job_done",),
    alone=True,
    deadline_s=400,
)
async def test_machine_survives_a_job(person: Person, machines: Machines, stack: Stack, video: bytes) -> None:
    """Run the work in a separate process with bounded memory, not in the event loop."""
    machine, since = await machines.first(), time.time()
    working = asyncio.create_task(whole_job(person, video))
    late: list[str] = []
    while not working.done():
        answer = await probed_in_time(stack, machine)
        late += [] if answer.startswith("2") else [answer]
        await asyncio.sleep(LOOK_S)
    working.exception()  # an assertion may fail before it is awaited, and asyncio would then report it on its own
    why = unwanted_end((await machines.get(machine))["events"], since)
    memory = stack.site.project.fly.machine.memory_mb
    assert not why, (
        f"during the job the Machine did not keep running: {why}. fly.toml gives it {memory} MB: bound the memory of"
        " the work, or give the Machine more"
    )
    assert not late, (
        f"during the job the health check is not answered within {stack.site.probe_timeout_s:g} s ({len(late)}"
        f" times: {late[0]}): Fly would stop routing to the Machine. Move the work out of the event loop"
    )
    state = await working
    assert state.at == "done", f"the Machine kept running, but the job ended as {state.at}: {state.reason}"


async def whole_job(person: Person, video: bytes) -> JobState:
    """Begin a job, and return its last state."""
    return await ended(await begun(person, video))
