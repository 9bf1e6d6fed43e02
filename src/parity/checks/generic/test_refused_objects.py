"""R2 refuses an object that the backend itself writes: an upload that it receives, or the output of a job.

A backend that ignores the refusal says "done" about an object that does not exist. Each check first learns, from the
uploads or jobs of two people without a fault, which keys they write. Then R2 refuses only such keys, so that the app
can still store everything else, such as the record that says "done".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from parity.checks import Proxy, check, not_judged
from parity.checks.bucket import Bucket
from parity.checks.faults import FaultInForce, Faults
from parity.checks.generic.support import PATIENCE_S, how_many, not_declared, until
from parity.checks.generic.test_jobs import begun, ended, still_running
from parity.checks.generic.test_uploads import like_no_other, watch
from parity.checks.person import People, Person
from parity.checks.stack import Stack
from parity.contract import Job, Refused, Uploaded

# The operations of S3 after which an object exists, and all that write one.
APPEARS = ("PutObject", "CompleteMultipartUpload", "CopyObject")
STORES = ("CreateMultipartUpload", "UploadPart", *APPEARS)
# The status with which R2 refuses, and how often (None: for good). S3 clients retry a 503 by themselves, never a 403.
Refusal = tuple[int, int | None]
OF_UPLOADS: Sequence[Refusal] = ((403, None), (503, None), (403, 1), (503, 1))
OF_JOBS: Sequence[Refusal] = ((503, None), (403, 1))


@dataclass
class Try:
    """One person whose object R2 refuses to store, and what the app then did wrong."""

    person: Person
    key: str
    refusal: Refusal
    fired: int = 0
    wrong: list[str] = field(default_factory=list)

    def accuse(self, reason: str) -> None:
        status, times = self.refusal
        self.wrong.append(f"R2 refuses to store the object {'once' if times else 'for good'} ({status}): {reason}")


def key_pattern(one: tuple[str, str], other: tuple[str, str]) -> str:
    """A shell pattern for keys of one kind, from those of two people, each with the person's prefix.

    It has ``*`` where they differ, and ``{owns}`` for the prefix. A segment that differs keeps its ending from the
    first dot on if both have the same ending. It matches everything below the prefix if their numbers of segments
    differ.
    """
    pairs = [(key.replace(owns, "{owns}", 1) if owns else key).split("/") for key, owns in (one, other)]
    if len(pairs[0]) != len(pairs[1]):
        return "{owns}*"
    found = []
    for a, b in zip(*pairs, strict=True):
        endings = {"".join(segment.partition(".")[1:]) for segment in (a, b)}
        found.append(a if a == b else f"*{endings.pop() if len(endings) == 1 else ''}")
    return "/".join(found)


@asynccontextmanager
async def refusing(one: Try, faults: Faults) -> AsyncIterator[None]:
    """R2 refuses to store what this try is about."""
    status, times = one.refusal
    made: list[FaultInForce] = []
    async with AsyncExitStack() as in_force:
        for operation in STORES:
            fault = faults.on(one.key, operation, status=status, times=times, must_fire=False)
            made.append(await in_force.enter_async_context(fault))
        yield
    one.fired = sum(fault.fired for fault in made)


async def tried(
    people: People, keys: Sequence[str], refusals: Sequence[Refusal], judge: Callable[[Try], Awaitable[None]]
) -> None:
    """``judge`` each refusal of each key with a new person, and assert that nothing was wrong.

    All at once where a fault hits only the keys of its own person.
    """
    tries = []
    for key in keys:
        for refusal in refusals:
            person = await people()
            tries.append(Try(person, key.replace("{owns}", person.owns), refusal))
    if len({one.key for one in tries}) == len(tries):
        await asyncio.gather(*(judge(one) for one in tries))
    else:
        for one in tries:
            await judge(one)
    wrong = [reason for one in tries for reason in one.wrong]
    assert not wrong, (
        f"{how_many([one.wrong for one in tries])} refusals of R2 are not handled. Report success only after R2's"
        " acknowledgement, tell the person of a failure, and let them try again:\n" + "\n".join(wrong)
    )
    if not any(one.fired for one in tries):
        not_judged(f"the app stored nothing at {' or '.join(keys)} while R2 refused that, so nothing was tested")


@check(
    "C",
    "When R2 refuses an upload that the backend received, the person is told, and can upload again afterwards",
    broken=Proxy("failure_acknowledged"),
    because=r"R2 refuses to store .* the upload is called finished, but",
    needs=("upload", "ffmpeg"),
    rests_on=("test_upload",),
    alone=True,
    deadline_s=240,
)
async def test_refused_upload(people: People, bucket: Bucket, faults: Faults, video: bytes) -> None:
    """Answer an error unless R2 has acknowledged the object, and keep no record of an upload that failed."""
    two = [await people(), await people()]
    sent = watch(two[0])
    keys = [((await person.app.upload(like_no_other(video))).key, person.owns) for person in two]
    if sent.urls:
        not_declared(
            "the page sends the file to a presigned URL (api.send_file): the backend does not write the object"
        )

    async def judge(one: Try) -> None:
        await judge_upload(one, faults, bucket, like_no_other(video))

    await tried(people, [key_pattern(*keys)], OF_UPLOADS, judge)


async def judge_upload(one: Try, faults: Faults, bucket: Bucket, film: bytes) -> None:
    """Upload while R2 refuses the object, and the same file once more afterwards."""

    async def upload() -> Uploaded | Refused:
        try:
            return await one.person.app.upload(film)
        except Refused as refused:
            return refused

    async with refusing(one, faults):
        first = await upload()
    if isinstance(first, Uploaded):
        if different := await difference(first.key, film, bucket):
            one.accuse(f"the upload is called finished, but {first.key} {different}")
    elif not first.status:
        one.accuse(f"the upload gets no answer, so the person does not know how it ended: {first}")
    again = await until(upload, lambda answer: isinstance(answer, Uploaded), PATIENCE_S)
    if isinstance(again, Refused):
        one.accuse(f"{PATIENCE_S:g} s after R2 works again, the same file is still refused: {again}")
    elif different := await difference(again.key, film, bucket):
        one.accuse(f"after R2 works again, the same file is called finished, but {again.key} {different}")


async def difference(key: str, film: bytes, bucket: Bucket) -> str:
    """What is wrong with the object of an upload; empty where it holds the film."""
    if key not in await bucket.objects(key):
        return "is not in the bucket"
    return "" if await bucket.read(key) == film else "holds the bytes of another file"


@check(
    "C",
    "When R2 refuses the output of a job, the job ends as failed with a reason, and can be begun again afterwards",
    broken=Proxy("failed_read_as_another"),
    because=r"R2 refuses to store .* the job is called done, but",
    needs=("job", "ffmpeg"),
    rests_on=("test_job_done",),
    alone=True,
    deadline_s=500,
)
async def test_refused_output(people: People, faults: Faults, stack: Stack, video: bytes) -> None:
    """Call a job done only after R2 has acknowledged every output, and store a failure with its reason."""
    one, other = await people(), await people()
    first = await end_of(begun(one, video), stack)
    # Some apps want another upload for another job.
    second, repeated = await asyncio.gather(end_of(begun(other, video), stack), end_of(one.app.job(), stack))
    if not (first.good and second.good):
        not_judged(f"the jobs of two people do not both succeed even without a fault: {first.wrong or second.wrong}")
    if not first.keys or len(first.keys) != len(second.keys):
        not_declared("the contract does not name the objects that each job stores (JobState.keys)")
    keys = [key_pattern((a, one.owns), (b, other.owns)) for a, b in zip(first.keys, second.keys, strict=True)]

    async def judge(each: Try) -> None:
        await judge_job(each, faults, stack, video, repeatable=repeated.good)

    await tried(people, keys, OF_JOBS, judge)


@dataclass(frozen=True)
class End:
    """How a job ended. ``wrong``: what a person would say is wrong with it; empty for a job with all its output."""

    keys: Sequence[str] = ()
    wrong: str = ""
    # Whether the person was told the truth, with a reason.
    honest: bool = True

    @property
    def good(self) -> bool:
        return not self.wrong


async def end_of(job: Awaitable[Job], stack: Stack) -> End:
    """How this job ends, where ``job`` begins it."""
    since = time.time()
    try:
        work = await job
        state = await ended(work)
    except Refused as refused:
        return End(wrong=f"is refused: {refused}", honest=bool(refused.status))
    if state.at == "running":
        return End(wrong=f"does not end: {still_running(work)}", honest=False)
    if state.at == "failed":
        return End(wrong=f"ended as failed: {state.reason or 'without a reason'}", honest=bool(state.reason))
    found = (await stack.admin("GET", "/r2/requests?limit=20000"))["requests"]
    stored = {one["key"] for one in found if float(one["time"]) >= since and one["status"] == 200
              and one["operation"] in APPEARS}  # fmt: skip
    gone = [key for key in state.keys if key not in stored]
    if gone:
        return End(state.keys, f"is called done, but {gone[0]} was not stored in the bucket", honest=False)
    return End(state.keys)


async def judge_job(one: Try, faults: Faults, stack: Stack, video: bytes, *, repeatable: bool) -> None:
    """A job while R2 refuses its output, and the same job once more afterwards."""
    if one.person.can("upload"):
        await one.person.app.upload(video)
    async with refusing(one, faults):
        end = await end_of(one.person.app.job(), stack)
    if not end.honest:
        one.accuse(f"the job {end.wrong}")

    async def again() -> End:
        return await end_of(one.person.app.job() if repeatable else begun(one.person, video), stack)

    later = await until(again, lambda end: end.good, PATIENCE_S)
    if not later.good:
        one.accuse(f"after R2 works again, the same job {later.wrong}")
