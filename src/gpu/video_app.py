"""The Modal app `reel-ballers-video`: video work for the backend, deployed on its own.

To Modal: `make deploy-gpu`. To the stand-in: its worker does the same `modal deploy`. The secret `reel-ballers-r2`
must exist there: R2_ENDPOINT, R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY, R2_BUCKET.
"""

from __future__ import annotations

import asyncio
from typing import Any

import modal
import modal.exception

from reel.forms import Taken, taken
from reel.payloads import APP_NAME, PROGRESS_DICT, SECRET_NAME, ExtractClip, RenderReel, call_entry
from video_jobs import jobs
from video_jobs.bucket import Bucket
from video_jobs.progress import ProgressReport

# The versions of the backend's requirements; a test holds them equal.
PINNED = ("boto3==1.44.5", "pillow==13.0.0", "fontpkg-noto-sans==2.15")
# Debian's packages of which the Fly image holds a part (see its Dockerfile), so that both draw the same text.
FONTS = ("libfribidi0", "fonts-noto-core", "fonts-noto-cjk", "fonts-noto-color-emoji")
PROGRESS_DEADLINE_S = 5.0

image = (
    modal.Image.debian_slim(python_version="3.11")
    .apt_install("ffmpeg", *FONTS)
    .pip_install(*PINNED)
    .add_local_python_source("reel", "video_jobs")
)
secret = modal.Secret.from_name(
    SECRET_NAME, required_keys=["R2_ENDPOINT", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET"]
)
# Every function writes one key, whole: an attempt may be repeated.
once_more = modal.Retries(max_retries=1, initial_delay=1.0, backoff_coefficient=1.0)

app = modal.App(APP_NAME, image=image, secrets=[secret])
progress = modal.Dict.from_name(PROGRESS_DICT, create_if_missing=True)


@app.function(timeout=1800, memory=1024, cpu=2.0, retries=once_more)
async def extract_clip(payload: dict[str, Any]) -> dict[str, Any]:
    """`ExtractClip` → `ExtractClipResult`: the clip is in the bucket."""
    await put_call(ExtractClip.from_dict(payload).output_key)
    return await jobs.extract(payload, Bucket.from_environment())


@app.function(timeout=1800, memory=2048, cpu=4.0, retries=once_more)
async def render_reel(payload: dict[str, Any]) -> dict[str, Any]:
    """`RenderReel` → `RenderReelResult`: the reel is in the bucket; how far it is, in the progress dict."""
    reel = RenderReel.from_dict(payload)
    await put_call(reel.output_key)
    report = ProgressReport(reel.export_id, put_progress)
    made = await jobs.render(payload, Bucket.from_environment(), report)
    await report(1.0, "done")
    return made


async def put_call(output_key: str) -> None:
    """Store the id of this call, with which the backend can cancel it if it was killed before it knew the id."""
    await put_progress(call_entry(output_key), modal.current_function_call_id())


async def put_progress(key: str, value: object) -> None:
    """An entry of the progress dict is optional: if the control plane does not answer, the work goes on without it."""
    try:
        async with asyncio.timeout(PROGRESS_DEADLINE_S):
            await progress.put.aio(key, value)
    except (TimeoutError, modal.exception.Error) as error:
        print(f"{key} was not written to {PROGRESS_DICT}: {error!r}")  # noqa: T201


@app.function(timeout=600, memory=1024, cpu=2.0, retries=once_more)
async def detect_players(payload: dict[str, Any]) -> dict[str, Any]:
    """`DetectPlayers` → `DetectPlayersResult`: moving regions, found on the CPU; see `video_jobs.motion`."""
    return await jobs.detect(payload, Bucket.from_environment())


@app.function(timeout=60, memory=256, cpu=0.125)
async def describe() -> Taken:
    """The fields and choices of payloads that these functions take. A backend asks some seconds after its start."""
    return taken()
