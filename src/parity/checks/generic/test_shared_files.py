"""Two people upload the same file. An app that stores it once must know who else still needs it."""

from __future__ import annotations

import contextlib

from parity.checks import Named, check
from parity.checks.bucket import Bucket
from parity.checks.faults import Faults
from parity.checks.generic.test_uploads import like_no_other, watch
from parity.checks.person import People, Person
from parity.contract import Refused, Uploaded


@check(
    "T",
    "When two people upload the same file, one keeps it although the other's upload fails or the other leaves",
    broken=Named("objects_shared"),
    because="took it along",
    needs=("upload", "ffmpeg"),
    rests_on=("test_upload",),
    alone=True,
    deadline_s=150,
)
async def test_shared_files(people: People, bucket: Bucket, faults: Faults, video: bytes) -> None:
    """Delete an object only when no record names its key any more, or give each upload a key of its own."""
    film = like_no_other(video)
    stays, goes = await people(), await people()
    mine = await stays.app.upload(film)
    await goes.app.upload(film)
    await still_there(stays, mine, film, bucket, "a second person uploaded the same file, which")
    await failing_upload(goes, faults, film)
    await still_there(stays, mine, film, bucket, "a second person's upload of the same file failed, and its clean-up")
    await goes.leaves()
    await still_there(stays, mine, film, bucket, "a second person with the same file left, and deleting their data")


async def failing_upload(person: Person, faults: Faults, film: bytes) -> None:
    """An upload that ends without its bytes in R2: they are never sent, or R2 refuses them from the app."""
    direct = watch(person, really=False)
    with contextlib.suppress(Refused):
        await person.app.upload(film)
    if direct.urls:
        return
    async with (
        faults.on("*", "PutObject", status=503, must_fire=False),
        faults.on("*", "UploadPart", status=503, must_fire=False),
    ):
        with contextlib.suppress(Refused):
            await person.app.upload(film)


async def still_there(person: Person, uploaded: Uploaded, film: bytes, bucket: Bucket, what: str) -> None:
    """The bytes are in the bucket, and the app gives them to the person, where the contract can ask."""
    found = await bucket.read(uploaded.key) if uploaded.key in await bucket.objects(uploaded.key) else None
    assert found is not None, f"{what} took it along: {uploaded.key} of the first person is no longer in the bucket"
    assert found == film, f"{what} changed {uploaded.key} of the first person: {len(found):,} of {len(film):,} bytes"
    if person.can("content"):
        try:
            shown = await person.app.content(uploaded.key)
        except Refused as refused:
            raise AssertionError(f"{what} took it along: the first person can no longer read it: {refused}") from None
        assert shown == film, f"{what} changed what the first person reads of {uploaded.key}"
