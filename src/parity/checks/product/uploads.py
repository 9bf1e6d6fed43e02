"""Videos go from a browser straight to the bucket and back, by presigned URLs."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Page

from parity.checks.kit.tools import Tools
from parity.checks.model import Broken, BucketCors, Check, Need
from parity.checks.product.caller import Caller, new_profile

CLIP_SECONDS = 3
SMALL = "320x180"
# Above the product's threshold for uploads in parts (64 MiB).
LARGE_BYTES = 70 * 1024 * 1024
FIRST_BYTES = 100

# Puts a slice of the chosen file to a URL, and tells what the page could see of the answer.
PUT = """async ([url, headers, begin, end]) => {
  const body = document.querySelector('#check-file').files[0].slice(begin, end);
  try {
    const answer = await fetch(url, {method: 'PUT', headers, body});
    return {status: answer.status, etag: answer.headers.get('etag') || ''};
  } catch (error) { return {status: 0, etag: '', error: String(error)}; }
}"""
# Reads a URL back, whole and in part.
GET = """async ([url, range]) => {
  const hex = (bytes) => [...new Uint8Array(bytes)].map((b) => b.toString(16).padStart(2, '0')).join('');
  try {
    const answer = await fetch(url, range ? {headers: {Range: range}} : {});
    const body = await answer.arrayBuffer();
    return {
      status: answer.status, size: body.byteLength, type: answer.headers.get('content-type') || '',
      range: answer.headers.get('content-range') || '', sha256: hex(await crypto.subtle.digest('SHA-256', body)),
    };
  } catch (error) { return {status: 0, size: 0, type: '', range: '', sha256: '', error: String(error)}; }
}"""


@dataclass(frozen=True)
class Sent:
    """One PUT as the page saw it; ``status`` 0: the browser kept the answer from it, ``error`` says how."""

    status: int
    etag: str
    error: str = ""


@dataclass(frozen=True)
class Got:
    """One GET as the page saw it."""

    status: int
    size: int
    type: str
    range: str
    sha256: str
    error: str = ""


@dataclass(frozen=True)
class TransferObservation:
    """``game`` is empty when the upload was never finalized; ``whole`` and ``part`` then are None."""

    method: str
    puts: Sequence[Sent]
    finalized: str
    game: Mapping[str, Any]
    whole: Got | None
    part: Got | None
    size: int
    sha256: str
    stranger: Got | None


async def observe_single(tools: Tools) -> TransferObservation:
    video = await tools.media.video(CLIP_SECONDS, SMALL)
    return await _transfer(tools, video)


async def observe_parts(tools: Tools) -> TransferObservation:
    video = await tools.media.video(CLIP_SECONDS, SMALL)
    large = video.with_name("large.mp4")
    large.write_bytes(padded(video.read_bytes(), LARGE_BYTES))
    return await _transfer(tools, large)


def padded(video: bytes, size: int) -> bytes:
    """An MP4 of ``size`` bytes that plays the same: a box of type ``free`` is to be ignored."""
    box = size - len(video)
    return video + struct.pack(">I4s", box, b"free") + bytes(box - 8)


async def _transfer(tools: Tools, video: Path) -> TransferObservation:
    caller = await new_profile(tools)
    size = video.stat().st_size
    wanted = {"name": "check", "filename": video.name, "content_type": "video/mp4", "size": size}
    prepared = await caller.call("POST", "/api/games/prepare-upload", wanted)
    upload = prepared["upload"]
    async with tools.page() as page:
        await page.goto(f"{tools.target.frontend_origin}/", wait_until="domcontentloaded")
        await page.evaluate("document.body.insertAdjacentHTML('beforeend', '<input type=file id=check-file>')")
        await page.set_input_files("#check-file", str(video))
        puts = await _puts(page, upload, size)
        parts = [{"part_number": n, "etag": put.etag} for n, put in enumerate(puts, 1)] if "parts" in upload else []
        finalized, game = await _finalize(caller, prepared["game_id"], parts)
        whole = part = stranger = None
        if game:
            url = (await caller.call("GET", f"/api/storage/url?key={game['key']}"))["url"]
            whole = Got(**await page.evaluate(GET, [url, ""]))
            part = Got(**await page.evaluate(GET, [url, f"bytes=0-{FIRST_BYTES - 1}"]))
            await page.route(
                "https://stranger.example/**", lambda route: route.fulfill(body="<p>", content_type="text/html")
            )
            await page.goto("https://stranger.example/")
            stranger = Got(**await page.evaluate(GET, [url, ""]))
    digest = hashlib.sha256(video.read_bytes()).hexdigest()
    return TransferObservation(upload["method"], puts, finalized, game, whole, part, size, digest, stranger)


async def _puts(page: Page, upload: Mapping[str, Any], size: int) -> list[Sent]:
    if upload["method"] == "single":
        return [Sent(**await page.evaluate(PUT, [upload["url"], upload["headers"], 0, size]))]
    puts, begin = [], 0
    for part in upload["parts"]:
        puts.append(Sent(**await page.evaluate(PUT, [part["url"], {}, begin, begin + part["size"]])))
        begin += part["size"]
    return puts


async def _finalize(caller: Caller, game_id: str, parts: list[dict[str, Any]]) -> tuple[str, Mapping[str, Any]]:
    answer = await caller.ask("POST", f"/api/games/{game_id}/finalize-upload", {"parts": parts})
    return f"{answer.status_code} {answer.text[:200]}", answer.json() if answer.is_success else {}


def judge(seen: TransferObservation) -> list[str]:
    reasons = []
    for number, put in enumerate(seen.puts, 1):
        if put.status != 200:
            reasons.append(
                f"PUT {number} from the browser: {put.status or 'no answer that a page may see'} {put.error}"
            )
        elif not put.etag:
            reasons.append(f"PUT {number} from the browser: the page cannot read the ETag (the bucket's ExposeHeaders)")
    if not seen.game:
        return [*reasons, f"finalize-upload: {seen.finalized}"]
    if seen.game.get("status") != "ready" or seen.game.get("size") != seen.size:
        reasons.append(
            f"the game is {seen.game.get('status')} with {seen.game.get('size')} bytes, sent were {seen.size}"
        )
    if abs((seen.game.get("duration") or 0) - CLIP_SECONDS) > 0.5:
        reasons.append(f"the game lasts {seen.game.get('duration')} s, sent were {CLIP_SECONDS} s")
    if seen.whole is None or (seen.whole.status, seen.whole.sha256) != (200, seen.sha256):
        reasons.append(f"GET in the browser did not give back what was sent: {seen.whole}")
    elif seen.whole.type != "video/mp4":
        reasons.append(f"GET in the browser: content type {seen.whole.type or 'absent'}, a player needs video/mp4")
    wanted = f"bytes 0-{FIRST_BYTES - 1}/{seen.size}"
    if seen.part is None or (seen.part.status, seen.part.size, seen.part.range) != (206, FIRST_BYTES, wanted):
        reasons.append(f"a ranged GET in the browser, {wanted} expected: {seen.part}")
    if seen.stranger is not None and seen.stranger.status:
        reasons.append("a page of another site can read the video")
    return reasons


NEEDS = frozenset({Need.ADMIN, Need.BROWSER, Need.FRONTEND_TLS, Need.FFMPEG})
OTHER_ORIGIN: Mapping[str, object] = {
    "AllowedOrigins": ["https://elsewhere.example"],
    "AllowedMethods": ["GET", "PUT", "HEAD"],
    "AllowedHeaders": ["Content-Type", "Range"],
    "ExposeHeaders": ["ETag"],
}


def _without_etag(origin: str) -> Mapping[str, object]:
    return {**OTHER_ORIGIN, "AllowedOrigins": [origin], "ExposeHeaders": ["Content-Length", "Content-Range"]}


PRESIGNED: Check[TransferObservation] = Check(
    id="presigned-in-browser",
    title="A browser on the staging frontend sends a video to the bucket and reads it back, whole and in ranges",
    capability="F",
    observe=observe_single,
    judge=judge,
    broken=Broken("the bucket's CORS policy lacks the frontend's origin", BucketCors([OTHER_ORIGIN])),
    needs=NEEDS,
)

IN_PARTS: Check[TransferObservation] = Check(
    id="upload-in-parts",
    title="A large video goes up in equal parts, and the browser may read each part's ETag",
    capability="F",
    observe=observe_parts,
    judge=judge,
    broken=Broken("the bucket's CORS policy does not expose ETag", BucketCors([_without_etag("*")])),
    needs=NEEDS,
    deadline_s=120.0,
)
