"""Several environments that share one bucket, and a new environment whose bucket is empty."""

from __future__ import annotations

import contextlib
import time

from parity.checks import Named, Proxy, check, not_judged
from parity.checks.bucket import Bucket
from parity.checks.generic.support import UNKNOWN, answered, empty_machine, refusal_of
from parity.checks.generic.test_jobs import whole_job
from parity.checks.machines import Machines
from parity.checks.person import People, missing
from parity.checks.stack import Stack
from parity.contract import FullContract, Prefix, Refused

ENVIRONMENTS = ("production", "another-staging")


def prefix_of(app: FullContract) -> str:
    environments = getattr(app, "environments", None)
    return f"{environments.name}/" if isinstance(environments, Prefix) else ""


@check(
    "M",
    "Every key that the app adds to the bucket begins with the environment's prefix",
    broken=Named("environment_elsewhere"),
    because="outside of the environment",
    needs=("prefix", "ffmpeg"),
    rests_on=("test_someone_new_can_come",),
    deadline_s=300,
)
async def test_keys_under_the_environment(people: People, bucket: Bucket, video: bytes) -> None:
    """Build every key in one function, and let it begin with the environment's prefix."""
    before = await bucket.objects()
    person = await people()
    prefix = prefix_of(person.app)
    await person.write()
    with contextlib.suppress(Refused):  # test_upload and test_job_done report this
        if person.can("job"):
            await whole_job(person, video)
        elif person.can("upload"):
            await person.app.upload(video)
    wrong = [key for key in await bucket.objects() if key not in before and not key.startswith(prefix)]
    assert not wrong, (
        f"{len(wrong)} new keys lie outside of the environment's prefix {prefix}, such as {wrong[0] if wrong else ''}."
        " Another environment that uses this bucket could read, overwrite or delete them: begin every key with the"
        " prefix"
    )


@check(
    "M",
    "The app does not read, list, change or delete objects of other environments in its bucket",
    broken=Named("environment_elsewhere"),
    because="outside of the environment",
    needs=("prefix",),
    rests_on=("test_someone_new_can_come",),
    alone=True,
    deadline_s=150,
)
async def test_other_environments_untouched(people: People, machines: Machines, bucket: Bucket, stack: Stack) -> None:
    """Give every list and every clean-up the environment's prefix."""
    first = await people()
    prefix = prefix_of(first.app)
    await first.write()
    # The same keys below the prefixes of other environments, where those would have them.
    mine = [key for key in await bucket.objects(first.owns or prefix) if key.startswith(prefix)]
    canaries = [f"{name}/{key.removeprefix(prefix)}" for name in ENVIRONMENTS for key in mine[:20]]
    for key in canaries:
        await bucket.put(key, b"of another environment")
    try:
        before = {key: etag for key, etag in (await bucket.objects()).items() if not key.startswith(prefix)}
        since = time.time()
        person = await people()
        text = await person.write()
        if person.can("delete"):
            await person.app.delete(text)
        await answered(person.on(await machines.replace_all()))
        outside = await asked_outside(stack, prefix, since)
        after = {key: etag for key, etag in (await bucket.objects()).items() if not key.startswith(prefix)}
    finally:
        await bucket.delete(canaries)
    changed = [key for key, etag in before.items() if after.get(key) != etag]
    assert not changed, (
        f"the app deleted or changed {changed[0]}, outside of the environment's prefix {prefix}. That is the data of"
        " another environment: give every list and every clean-up the prefix"
    )
    assert not outside, (
        f"the app sent R2 a request for {outside[0]}, outside of the environment's prefix {prefix}. A clean-up over all"
        " environments would delete data of the others: give every list the prefix"
    )


async def asked_outside(stack: Stack, prefix: str, since: float) -> list[str]:
    """The requests to R2 since then (Unix seconds) for keys or lists outside ``prefix``."""
    found = (await stack.admin("GET", "/r2/requests?limit=20000"))["requests"]
    placed = [(entry["operation"], entry["key"] or entry["prefix"]) for entry in found if float(entry["time"]) >= since]
    # A request for the bucket itself (HeadBucket) concerns no key; a list without a prefix concerns all keys.
    concerned = [(operation, place) for operation, place in placed if place or operation.startswith("ListObjects")]
    return [f"{operation} {place or 'of everything'}" for operation, place in concerned if not place.startswith(prefix)]


@check(
    "K",
    "With an empty bucket, a new person can sign in and their writes last",
    broken=Proxy("answers", status=500),
    because="in an empty bucket",
    alone=True,
    deadline_s=150,
)
async def test_empty_bucket(people: People, machines: Machines, bucket: Bucket) -> None:
    """Make every migration work on an empty database, and create what is missing at the first write."""
    before = await refused_to(people) if await bucket.objects() else ""
    try:
        async with bucket.emptied():
            await machines.replace_all()
            await first_person_ever(people, machines, before)
    finally:
        await machines.replace_all()


async def refused_to(people: People) -> str:
    """Why a new person cannot write now and see the text; empty where they can."""
    try:
        person = await people()
        text = await person.write()
        return "" if text in await person.read() else f"the acknowledged {text} is not shown"
    except AssertionError as error:
        return str(error)


async def first_person_ever(people: People, machines: Machines, before: str) -> None:
    """``before`` says why the same did not work while the bucket had objects; empty where it did."""
    try:
        person = await people()
        kept = [await person.attempt() for _ in range(2)]
        shown = await person.reads()
    except AssertionError as error:
        raise AssertionError(
            f"in an empty bucket no new person can sign in: {error}. Every first deploy and every new environment"
            " starts with an empty bucket: make sign-in and every migration work without existing objects"
        ) from None
    if before and missing(kept, shown):
        not_judged(f"with objects in the bucket it does not work either: {before}")
    assert kept[0].acknowledged, (
        f"in an empty bucket no write is acknowledged: {kept[0].answer}. Create what is missing at the first write"
    )
    assert not missing(kept, shown), f"in an empty bucket acknowledged writes are not shown; shown: {shown}"
    async with empty_machine(person, machines) as cold:
        refused = await refusal_of(person.on(cold))
        again = await answered(person.on(cold))
    if refused is not None and refused.status in UNKNOWN:
        not_judged(f"an empty Machine does not know the person ({refused}): see test_known_to_every_machine")
    assert not missing(kept, again), (
        f"in an empty bucket acknowledged writes are not shown by a Machine with an empty disk; shown: {again}. They"
        " did not reach R2 before their answer"
    )
