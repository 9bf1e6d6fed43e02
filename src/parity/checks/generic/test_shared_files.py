"""Two people upload the same file. An app that stores it only once must not delete it while one of them needs it."""

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
    "A person keeps an uploaded file when another person's upload of the same file fails or is deleted",
    broken=Named("objects_shared"),
    because="took it along",
    needs=("upload", "ffmpeg"),
    rests_on=("test_upload",),
    alone=True,
    deadline_s=150,
)
async def test_shared_files(people: People, bucket: Bucket, faults: Faults, video: bytes) -> None:
    """Delete an object only when no record refers to its key, or store each upload under its own key."""
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
    """An upload whose bytes do not reach R2: the client sends none, or R2 refuses the app's upload."""
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
    """Assert that the bucket has the bytes and, where the contract has ``content``, that the app gives them out."""
    found = await bucket.read(uploaded.key) if uploaded.key in await bucket.objects(uploaded.key) else None
    assert found is not None, (
        f"{what} took it along: {uploaded.key} of the first person is no longer in the bucket. Delete an object only"
        " when no record refers to its key"
    )
    assert found == film, (
        f"{what} changed {uploaded.key} of the first person: {len(found):,} bytes, not the {len(film):,} that they sent"
    )
    if person.can("content"):
        try:
            shown = await person.app.content(uploaded.key)
        except Refused as refused:
            raise AssertionError(f"{what} took it along: the first person can no longer read it: {refused}") from None
        assert shown == film, (
            f"{what} changed what the first person reads of {uploaded.key}: {len(shown):,} bytes, not the {len(film):,}"
            " that they sent"
        )
