"""A reel is rendered, by Modal or on the Machine, and is in the bucket before it is called complete."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from journey import (
    DRAFT_FRAME,
    EMPTY,
    OVER,
    POLL_S,
    RENDER_S,
    SMALL,
    SMALL_CUTS,
    SMALL_SECONDS,
    Cut,
    cut,
    download,
    extract,
    profile_prefix,
    start_export,
    until_over,
    upload,
    wrong_with_reel,
)
from parity.checks import Env, Named, check
from parity.checks.bucket import Bucket
from parity.checks.media import Media
from parity.checks.person import Person
from parity.checks.stage import Stage

Calls = Callable[[], Awaitable[list[dict[str, Any]]]]
RENDER_FUNCTION, CUT_FUNCTION = "render_reel", "extract_clip"
VIDEO_SECONDS, CUTS, FRAME = 30, (Cut(2.0, 5.0), Cut(20.0, 22.5)), (1280, 720)
MODAL_OFF = {"MODAL_ENABLED": "false"}


async def _renders(modal_calls: Calls, function: str = RENDER_FUNCTION) -> set[str]:
    return {call["id"] for call in await modal_calls() if call["function"].endswith(function)}


async def _exported(
    person: Person, bucket: Bucket, media: Media, folder: Path, video: Path, cuts: Sequence[Cut], **options: str
) -> list[str]:
    """Make a reel of ``cuts``; what is wrong with it."""
    game = await upload(person, video)
    export = await start_export(person, await cut(person, game["id"], cuts), **options)
    job: Mapping[str, Any] = await until_over(person, f"/api/exports/{export}")
    keys = await bucket.objects(person.owns)
    assert job["status"] == "complete", f"the export is {job['status']}: {job.get('reason')}"
    assert f"{profile_prefix(person)}{job['key']}" in keys, (
        f"the export is called complete, but the bucket has no {profile_prefix(person)}{job['key']}"
    )
    probe = await download(person, media, job["key"], folder)
    frame = DRAFT_FRAME if options["quality"] == "draft" else FRAME
    wrong = wrong_with_reel(probe, sum(one.seconds for one in cuts), frame)
    if job.get("size") != probe.size_bytes:
        wrong.append(f"the export says {job.get('size')} bytes, the file has {probe.size_bytes}")
    return wrong


@check(
    "G",
    "An export on Modal makes a valid reel, which is in the bucket before the export is called complete",
    broken=Env(MODAL_OFF),
    because="no render_reel ran on Modal",
    needs=("gpu", "ffmpeg"),
    deadline_s=RENDER_S + 90,
)
async def test_export_with_modal(
    person: Person, bucket: Bucket, media: Media, modal_calls: Calls, tmp_path: Path
) -> None:
    """Look at modal-calls.json, and call an export complete only after R2 has acknowledged the reel."""
    before = await _renders(modal_calls)
    video = await media.file(VIDEO_SECONDS)
    wrong = await _exported(person, bucket, media, tmp_path, video, CUTS, overlay="Parity 1:0", quality="standard")
    if not await _renders(modal_calls) - before:
        wrong.append(f"no {RENDER_FUNCTION} ran on Modal: the Machine did the work itself")
    assert not wrong, "\n".join(wrong)


@check(
    "G",
    "A preview of a game is made on Modal, is a valid video, and is deleted with the game",
    broken=Env(MODAL_OFF),
    because="no extract_clip ran on Modal",
    needs=("gpu", "ffmpeg"),
    deadline_s=RENDER_S + 60,
)
async def test_preview_with_modal(
    person: Person, bucket: Bucket, media: Media, modal_calls: Calls, tmp_path: Path
) -> None:
    """Look at modal-calls.json, and delete the preview's object together with its game."""
    before = await _renders(modal_calls, CUT_FUNCTION)
    path = f"/api/games/{(await upload(person, await media.file(SMALL_SECONDS, SMALL)))['id']}"
    await person.api.call("POST", f"{path}/preview", expect=202)
    preview = await _previewed(person, path)
    assert preview["status"] == "complete", f"the preview is {preview['status']}: {preview['reason']}"
    probe = await download(person, media, preview["key"], tmp_path)
    wrong = wrong_with_reel(probe, SMALL_SECONDS, (640, 360))
    if not await _renders(modal_calls, CUT_FUNCTION) - before:
        wrong.append(f"no {CUT_FUNCTION} ran on Modal: the Machine did the work itself")
    await person.api.call("DELETE", path, expect=204)
    # An empty object does not count: it keeps the URL of the upload from creating the video anew.
    stored = (await bucket.objects(profile_prefix(person))).items()
    left = [key for key, etag in stored if "/games/" in key and etag.strip('"') != EMPTY]
    wrong += [f"{key} is left of a game that was deleted" for key in left if path.rpartition("/")[2] in key]
    assert not wrong, "\n".join(wrong)


async def _previewed(person: Person, path: str) -> Mapping[str, Any]:
    """Wait until the preview of the game at ``path`` has ended, and return it."""
    end = time.monotonic() + RENDER_S
    while True:
        preview: Mapping[str, Any] = (await person.api.call("GET", path))["preview"]
        if preview["status"] in OVER:
            return preview
        assert time.monotonic() < end, f"the preview is still {preview['status']} after {RENDER_S:.0f} s"
        await asyncio.sleep(POLL_S)


@check(
    "L",
    "With MODAL_ENABLED=false the Machine renders the reel itself, within its memory",
    broken=Env({"MODAL_ENABLED": "true", "IGNORED": "1"}),
    because="ran on Modal though MODAL_ENABLED is false",
    needs=("gpu", "ffmpeg"),
    alone=True,
    deadline_s=RENDER_S + 120,
)
async def test_export_modal_off(
    person: Person, bucket: Bucket, media: Media, modal_calls: Calls, staged: Stage, tmp_path: Path
) -> None:
    """Choose the worker by MODAL_ENABLED alone, and render in a process whose memory is bounded."""
    before = await _renders(modal_calls)
    video = await media.file(SMALL_SECONDS, SMALL)
    # A variable that the broken variant sets is not changed, so that the app seems to ignore the switch.
    switched = Env({name: value for name, value in MODAL_OFF.items() if not _set_by_variant(staged, name)})
    async with staged.changed(switched):
        wrong = await _exported(person, bucket, media, tmp_path, video, SMALL_CUTS, overlay="", quality="draft")
    if rendered := await _renders(modal_calls) - before:
        wrong.append(f"{len(rendered)} × {RENDER_FUNCTION} ran on Modal though MODAL_ENABLED is false")
    assert not wrong, "\n".join(wrong)


def _set_by_variant(staged: Stage, name: str) -> bool:
    return any(isinstance(change, Env) and name in change.values for change in staged.in_force)


# Parts of the keys that normal use adds. Each must occur, or the check would pass on an empty bucket.
KINDS = ("/profiles.json", "/database", "/games/", "/clips/", "/exports/")


@check(
    "M",
    "Every key that the app and its GPU functions add to the bucket begins with APP_ENV",
    broken=Named("environment_elsewhere"),
    because="is not below staging/",
    needs=("ffmpeg",),
    alone=True,
    deadline_s=RENDER_S + 120,
)
async def test_keys_under_prefix(person: Person, bucket: Bucket, media: Media) -> None:
    """Build every key in app/storage/keys.py, and send the GPU functions whole keys instead of parts."""
    before = await bucket.objects()
    await person.api.call("PATCH", "/api/settings", {"theme": "dark"})
    game = await upload(person, await media.file(SMALL_SECONDS, SMALL))
    clips = await cut(person, game["id"], SMALL_CUTS)
    extraction = await extract(person, clips[0])
    export = await start_export(person, clips, overlay="", quality="draft")
    await until_over(person, f"/api/exports/{export}")
    await until_over(person, f"/api/extractions/{extraction}")
    added = sorted(set(await bucket.objects()) - set(before))
    prefix = "staging/"
    wrong = [f"{key} is not below {prefix}" for key in added if not key.startswith(prefix)]
    seen = [key for key in await bucket.objects() if f"/{person.api.user}/" in key]
    wrong += [f"no key with {kind} was added" for kind in KINDS if not any(kind in key for key in seen)]
    assert not wrong, "\n".join(wrong)
