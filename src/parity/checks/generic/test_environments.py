"""Several environments in one bucket, and one in which nothing was ever written."""

from __future__ import annotations

import time

from parity.checks import Named, Proxy, check
from parity.checks.bucket import Bucket
from parity.checks.generic.support import empty_machine, not_declared
from parity.checks.machines import Machines
from parity.checks.person import People, Person, missing
from parity.checks.stack import Stack
from parity.contract import FullContract, Prefix, Refused

ENVIRONMENTS = ("production", "another-staging")


def prefix_of(app: FullContract) -> str:
    environments = getattr(app, "environments", None)
    return f"{environments.name}/" if isinstance(environments, Prefix) else ""


@check(
    "M",
    "Every key that use adds to the bucket begins with the environment",
    broken=Named("environment_elsewhere"),
    because="outside of the environment",
    needs=("prefix", "ffmpeg"),
    rests_on=("test_someone_new_can_come",),
)
async def test_keys_under_the_environment(people: People, bucket: Bucket, video: bytes) -> None:
    """Build every key from one function that begins with the environment."""
    before = await bucket.objects()
    person = await people()
    prefix = prefix_of(person.app)
    await person.write()
    if person.can("upload"):
        await person.app.upload(video)
    wrong = [key for key in await bucket.objects() if key not in before and not key.startswith(prefix)]
    assert not wrong, (
        f"{len(wrong)} new keys lie outside of the environment's prefix {prefix}, such as {wrong[0] if wrong else ''}:"
        " another environment in this bucket would read, overwrite or sweep them"
    )


@check(
    "M",
    "Nothing that the app does touches, lists or deletes what other environments have in the bucket",
    broken=Named("environment_elsewhere"),
    because="outside of the environment",
    needs=("prefix",),
    rests_on=("test_someone_new_can_come",),
    alone=True,
    deadline_s=150,
)
async def test_other_environments_untouched(people: People, machines: Machines, bucket: Bucket, stack: Stack) -> None:
    """Give every list and sweep the environment's prefix."""
    first = await people()
    prefix = prefix_of(first.app)
    await first.write()
    # The same keys under other environments, as those would have them.
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
        await person.on(await machines.replace_all()).reads()
        outside = await asked_outside(stack, prefix, since)
        after = {key: etag for key, etag in (await bucket.objects()).items() if not key.startswith(prefix)}
    finally:
        await bucket.delete(canaries)
    changed = [key for key, etag in before.items() if after.get(key) != etag]
    assert not changed, (
        f"{changed[0]}, outside of the environment's prefix {prefix}, was deleted or changed: on Fly that would be the"
        " data of another environment. Give every list and sweep the prefix"
    )
    assert not outside, (
        f"the app asked R2 for {outside[0]}, outside of the environment's prefix {prefix}: a list or sweep over all"
        " environments deletes what belongs to others sooner or later"
    )


async def asked_outside(stack: Stack, prefix: str, since: float) -> list[str]:
    """Requests to R2 since then (Unix seconds) for keys or lists that do not lie below ``prefix``."""
    found = (await stack.admin("GET", "/r2/requests?limit=20000"))["requests"]
    placed = [(entry["operation"], entry["key"] or entry["prefix"]) for entry in found if float(entry["time"]) >= since]
    # Those of the bucket as a whole (HeadBucket) concern no key; a list without prefix concerns all.
    concerned = [(operation, place) for operation, place in placed if place or operation.startswith("ListObjects")]
    return [f"{operation} {place or 'of everything'}" for operation, place in concerned if not place.startswith(prefix)]


@check(
    "K",
    "With an empty bucket a new person can sign in, and what they write lasts",
    broken=Proxy("answers", status=500),
    because="in an empty bucket",
    alone=True,
    deadline_s=150,
)
async def test_empty_bucket(people: People, machines: Machines, bucket: Bucket) -> None:
    """Run every migration on an empty database, and create what is missing on the first write."""
    try:
        async with bucket.emptied():
            await machines.replace_all()
            await first_person_ever(people, machines)
    finally:
        await machines.replace_all()


async def first_person_ever(people: People, machines: Machines) -> None:
    try:
        person = await people()
        kept = [await person.attempt() for _ in range(2)]
        shown = await person.reads()
    except AssertionError as error:
        raise AssertionError(
            f"in an empty bucket no new person can sign in: {error}. A first deploy, and each new environment, starts"
            " like this. Does every migration run where nothing is?"
        ) from None
    assert kept[0].acknowledged, f"in an empty bucket no write is acknowledged: {kept[0].answer}"
    assert not missing(kept, shown), f"in an empty bucket acknowledged writes are not shown, but: {shown}"
    async with empty_machine(person, machines) as cold:
        again = await person.on(cold).reads()
    assert not missing(kept, again), (
        f"in an empty bucket acknowledged writes are not shown by a Machine with an empty disk, but: {again}"
    )


@check(
    "K",
    "What former releases left is shown by this one, on an empty disk too, and can be written to",
    broken=Named("old_data_ignored"),
    because="of the former release",
    needs=("old_data",),
    rests_on=("test_writes_last",),
    deadline_s=200,
)
async def test_old_data(newcomer: Person, machines: Machines, bucket: Bucket) -> None:
    """Migrate before the first read, and upload the result before the answer."""
    releases = await newcomer.app.old_data()
    if not releases:
        not_declared("old_data of the contract names no release")
    for release in releases:
        person = newcomer.another()  # who used the app before this release, and not yet with it
        left = (await person.app.old_data())[release]
        for key, data in left.objects.items():
            await bucket.put(key, data)
        back = await returned(person, await machines.first(), release)
        shown = await back.reads()
        gone = [text for text in left.shown if isinstance(shown, str) or text not in shown]
        assert not gone, f"{gone[0]!r}, of the former release {release}, is not shown, but: {shown}"
        write = await back.attempt()
        assert write.acknowledged, (
            f"over the data of the former release {release} no write is acknowledged: {write.answer}"
        )
        async with empty_machine(back, machines) as cold:
            again = await back.on(cold).reads()
        lost = [text for text in [*left.shown, write.text] if isinstance(again, str) or text not in again]
        assert not lost, (
            f"{lost[0]!r}, of the former release {release} or written over it, is not shown on an empty disk, but:"
            f" {again}. A migration must reach the bucket before the answer"
        )


async def returned(person: Person, machine: str, release: str) -> Person:
    """The person of that release comes back, or signs in where the contract has no ``cold_person``."""
    try:
        if person.can("cold_person"):
            return await person.comes_back(machine)
        there = person.on(machine)
        await there.app.sign_in()
        return there
    except Refused as refused:
        raise AssertionError(f"a person of the former release {release} cannot come back: {refused}") from None
