"""An acknowledged write lasts: on the Machine that answered it, in the bucket, and on a Machine with an empty disk."""

from __future__ import annotations

import asyncio
import contextlib
import time

from parity.checks import Fault, Proxy, check, not_judged
from parity.checks.bucket import Bucket
from parity.checks.generic.support import (
    UNKNOWN,
    acknowledged,
    answered,
    as_refused,
    changed,
    empty_machine,
    not_declared,
    not_taken,
    refusal_of,
    within_s,
)
from parity.checks.machines import Machines
from parity.checks.person import Attempt, People, Person, missing
from parity.checks.stack import Stack
from parity.contract import InBucket, Refused

TEXTS = ("Zürich – 東京 ⚽ ‘quoted’", 'İstanbul <b>&amp;</b> \\n "x" \'; --')


@check(
    "B",
    "An acknowledged write is in the bucket, and shown by a Machine with an empty disk",
    broken=Proxy("answered_early", seconds=15.0),
    because="no object below .* changed|is not shown by a Machine with an empty disk",
    deadline_s=120,
    rests_on=("test_writes_last",),
    fast=True,
)
async def test_durable(person: Person, machines: Machines, bucket: Bucket) -> None:
    """Answer a write only when R2 has acknowledged the upload."""
    await person.write()
    before = await bucket.objects(person.owns)
    text = await person.write()
    if isinstance(person.keeps, InBucket):
        after = await changed(bucket, person, before)
        assert after != before, (
            f"a write was acknowledged, but no object below {person.owns or 'the bucket'} changed ({len(after)} are"
            " there). If the Machine ends now, the write is lost: answer only when R2 has acknowledged the upload"
        )
    async with empty_machine(person, machines) as cold:
        refused = await refusal_of(person.on(cold))
        shown = await answered(person.on(cold))
    if refused is not None and refused.status in UNKNOWN:
        not_judged(f"an empty Machine does not know the person ({refused}): see test_known_to_every_machine")
    assert text in shown, (
        f"{text} was acknowledged and is not shown by a Machine with an empty disk; shown: {shown}. A new Machine has"
        " only what is in R2: upload before you answer, and load from R2 what the disk lacks"
    )


@check(
    "C",
    "R2 accepts every request that the app sends: its credentials, its form and its checksums",
    broken=Fault("r2", key="*", operation="PutObject", rate=1, status=401),
    because="R2 refuses .* requests of the app",
    needs=("ffmpeg",),
    alone=True,
    deadline_s=120,
)
async def test_r2_takes_every_request(newcomer: Person, stack: Stack, video: bytes) -> None:
    """Look up the rule in docs/standins/r2-rules.md. boto3 from 1.36 on sends checksums that R2 refuses, unless its
    Config says request_checksum_calculation="when_required"."""
    since = time.time()
    with contextlib.suppress(Refused):  # other checks judge the app's answers; this one looks at R2's
        await newcomer.app.sign_in()
        await newcomer.app.write("taken")
        if newcomer.can("upload"):
            await newcomer.app.upload(video)
    await asyncio.sleep(within_s(newcomer))
    wrong, asked = await not_taken(stack, since)
    if not asked:
        not_declared("the app sends R2 no request when a new person signs in, writes and uploads")
    assert not wrong, f"R2 refuses {len(wrong)} of {asked} requests of the app, such as {as_refused(wrong[0])}"


@check(
    "B",
    "Acknowledged writes are shown after a restart of the Machine that answered them",
    broken=Proxy("answered_early", seconds=600.0),
    because="lost over a restart",
    apart=True,
    deadline_s=120,
    rests_on=("test_durable",),
)
async def test_restart(person: Person, machines: Machines) -> None:
    """Store nothing that matters only on the root disk: Fly resets it at every start."""
    await person.write()
    kept = [await person.attempt() for _ in range(3)]
    first = await machines.first()
    await machines.stop(first)
    shown = await answered(person.on(await machines.first()))
    lost = missing(kept, shown)
    assert not lost, (
        f"{len(lost)} of {acknowledged(kept)} acknowledged writes are lost over a restart; shown: {shown}. Fly resets"
        " the root disk whenever a Machine starts: store in R2 before you answer"
    )


@check(
    "B",
    "No person sees what another person writes, even when they write at the same time",
    broken=Proxy("first_answer_kept", for_all=True),
    because="is shown to another person|is not shown what they wrote",
    live=True,
    rests_on=("test_writes_last",),
    fast=True,
)
async def test_people_apart(people: People) -> None:
    """Put the person's id into the key of every cache entry, file and object."""
    several = await asyncio.gather(*(people() for _ in range(3)))
    kept = [await one.attempt() for one in several]
    for one in several:  # one after another, so that a cache without the person in its key gives a wrong answer
        await one.read()
    kept += await asyncio.gather(*(one.attempt() for one in several))
    shown = await asyncio.gather(*(one.read() for one in several))
    for number, seen in enumerate(shown):
        others = [w.text for n, w in enumerate(kept) if n % 3 != number and w.text in seen]
        assert not others, (
            f"what one person wrote is shown to another person: {others[0]}. The key of a cache entry, a file or an"
            " object does not contain the person: add the person's id"
        )
        lost = missing([w for n, w in enumerate(kept) if n % 3 == number], seen)
        assert not lost, (
            f"person {number + 1} of 3 is not shown what they wrote while others wrote: {', '.join(lost)}. Several"
            " people share a cache entry, a file or an object: put the person's id into its key"
        )


@check(
    "B",
    "What a person deleted stays deleted, on a Machine with an empty disk too",
    broken=Proxy("writes_dropped", method="DELETE"),
    because="is still shown after its delete|comes back on a Machine with an empty disk",
    needs=("delete",),
    deadline_s=120,
    rests_on=("test_durable",),
)
async def test_delete(person: Person, machines: Machines) -> None:
    """Delete in R2 before the answer, and never restore from an older copy."""
    app = person.app
    kept, gone = [await person.write() for _ in range(2)], [await person.write() for _ in range(2)]
    for text in gone:
        if text not in await person.read():
            not_judged(f"{text} was not shown even before the delete: see test_writes_last")
        await app.delete(text)
    shown = set(await person.read())
    assert not shown & set(gone), (
        f"{', '.join(shown & set(gone))} is still shown after its delete was acknowledged. Delete before you answer"
    )
    assert set(kept) <= shown, (
        f"deleting {', '.join(gone)} also removed {', '.join(set(kept) - shown)}, which the person did not delete"
    )
    async with empty_machine(person, machines) as cold:
        again = set(await person.on(cold).read())
    assert not again & set(gone), (
        f"{', '.join(again & set(gone))} was deleted and comes back on a Machine with an empty disk: the delete did not"
        " reach R2 before its answer, or the Machine restored an older copy"
    )
    assert set(kept) <= again, (
        f"a Machine with an empty disk no longer shows {', '.join(set(kept) - again)}, although only"
        f" {', '.join(gone)} was deleted"
    )


@check(
    "W",
    "Text with any Unicode characters and quotes is shown exactly as it was written",
    broken=Proxy("only_ascii"),
    because="is shown as",
    live=True,
    rests_on=("test_writes_last",),
    fast=True,
)
async def test_any_text(person: Person) -> None:
    """Read and write UTF-8 everywhere; percent-encode text that goes into headers."""
    for text in TEXTS:
        before = set(await person.read())
        await person.app.write(text)
        shown = set(await person.read()) - before
        assert text in shown, (
            f"{text!r} was acknowledged and is shown as {sorted(shown)!r}. Read and write UTF-8 everywhere, and"
            " percent-encode text in headers"
        )


@check(
    "W",
    "More than a thousand writes are all shown by a Machine with an empty disk",
    broken=Proxy("answered_early", seconds=60.0),
    because="are not shown by a Machine with an empty disk",
    deadline_s=240,
    rests_on=("test_durable",),
)
async def test_many(person: Person, machines: Machines) -> None:
    """Read R2's lists page by page to the end (IsTruncated, NextContinuationToken)."""
    number, at_once = 1020, asyncio.Semaphore(16)

    async def one() -> Attempt:
        async with at_once:
            return await person.attempt()

    kept = [await person.attempt(), *await asyncio.gather(*(one() for _ in range(number)))]
    assert acknowledged(kept) > 1000, (
        f"only {acknowledged(kept)} of {number} writes, 16 at a time, are acknowledged; the first refusal:"
        f" {refusal(kept)}"
    )
    async with empty_machine(person, machines) as cold:
        lost = missing(kept, await answered(person.on(cold)))
    assert not lost, (
        f"{len(lost)} of {acknowledged(kept)} acknowledged writes are not shown by a Machine with an empty disk. R2"
        " lists at most 1,000 keys in one answer (IsTruncated): read all pages with NextContinuationToken"
    )


def refusal(attempts: list[Attempt]) -> str:
    """The answer to the first write that was not acknowledged."""
    return next((one.answer for one in attempts if not one.acknowledged), "none was refused")


@check(
    "S",
    "A person's data is answered with headers that let no cache show it again without asking",
    broken=Proxy("cacheable"),
    because="may be kept",
    live=True,
    rests_on=("test_writes_last",),
    fast=True,
)
async def test_not_cacheable(person: Person, stack: Stack) -> None:
    """Answer with Cache-Control: no-store, or no-cache with an ETag."""
    await person.write()
    await person.read()
    said = [one for one in stack.said if one["asked"].startswith("GET ") and str(one["answer"]).startswith("2")]
    if not said:
        not_declared("the contract reads without a GET request, and only answers to GET are cached")
    kept = {one["asked"]: one["answer_headers"].get("cache-control", "") for one in said}
    wrong = [f"{asked} says Cache-Control: {value}" for asked, value in kept.items() if may_be_kept(value)]
    assert not wrong, (
        f"an answer with a person's data may be kept by a browser or proxy: {wrong[0]}. After a write the page would"
        " show the old state. Answer with Cache-Control: no-store, or no-cache and an ETag"
    )


def may_be_kept(value: str) -> bool:
    """Whether this ``Cache-Control`` lets a browser or proxy use the answer again without asking the app."""
    words = {word.strip().lower() for word in value.split(",")}
    ages = [word.partition("=")[2] for word in words if word.startswith(("max-age=", "s-maxage="))]
    return not words & {"no-store", "no-cache"} and any(age.isdigit() and int(age) > 0 for age in ages)
