"""Videos go from a browser straight to the bucket and back, by presigned URLs."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playwright.async_api import Page

from journey import finalize, prepare, signed_url
from parity.checks import BucketCors, check
from parity.checks.browser import Pages
from parity.checks.media import Media
from parity.checks.person import Person

CLIP_SECONDS, SMALL = 3, "320x180"
# Above the app's threshold for uploads in parts (64 MiB).
LARGE_BYTES = 70 * 1024 * 1024
FIRST_BYTES = 100
STRANGER = "https://stranger.example"

# Puts a slice of the chosen file to a URL, and tells what the page could see of the answer.
PUT = """async ([url, headers, begin, end]) => {
  const body = document.querySelector('#check-file').files[0].slice(begin, end);
  try {
    const answer = await fetch(url, {method: 'PUT', headers, body});
    return {status: answer.status, etag: answer.headers.get('etag') || '', error: ''};
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
  } catch (error) { return {status: 0, error: String(error)}; }
}"""
CORS: Mapping[str, object] = {
    "AllowedOrigins": ["https://elsewhere.example"],
    "AllowedMethods": ["GET", "PUT", "HEAD"],
    "AllowedHeaders": ["*"],
    "ExposeHeaders": ["ETag"],
}
WITHOUT_ETAG = {**CORS, "AllowedOrigins": ["*"], "ExposeHeaders": ["Content-Length", "Content-Range"]}


@check(
    "F",
    "In a browser the page can upload a video to the bucket and read it back, whole and in ranges",
    broken=BucketCors([CORS]),
    because="no answer that a page may see",
    needs=("origin", "browser", "ffmpeg"),
)
async def test_upload_in_browser(person: Person, page: Pages, media: Media) -> None:
    """Allow the page's origin and its methods in the bucket's CORS policy, and no other origin."""
    await _transferred(person, page, await media.file(CLIP_SECONDS, SMALL))


@check(
    "F",
    "A large video is uploaded in equal parts, and the page may read each part's ETag",
    broken=BucketCors([WITHOUT_ETAG]),
    because="the page cannot read the ETag",
    needs=("origin", "browser", "ffmpeg"),
    deadline_s=120,
)
async def test_upload_in_parts(person: Person, page: Pages, media: Media, tmp_path: Path) -> None:
    """Cut the file into equal parts, and name ETag in ExposeHeaders of the bucket's CORS policy."""
    large = tmp_path / "large.mp4"
    large.write_bytes(padded((await media.file(CLIP_SECONDS, SMALL)).read_bytes(), LARGE_BYTES))
    await _transferred(person, page, large)


def padded(video: bytes, size: int) -> bytes:
    """The same video with ``size`` bytes: a box of type ``free`` is added, which players ignore."""
    box = size - len(video)
    return video + struct.pack(">I4s", box, b"free") + bytes(box - 8)


async def _transferred(person: Person, page: Pages, video: Path) -> None:
    size = video.stat().st_size
    prepared = await prepare(person, size)
    async with page() as tab:
        await tab.goto(f"{person.api.origin}/", wait_until="domcontentloaded")
        await tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<input type=file id=check-file>')")
        await tab.set_input_files("#check-file", str(video))
        puts = await _puts(tab, prepared["upload"], size)
        wrong = [reason for number, put in enumerate(puts, 1) for reason in _wrong_with_put(number, put)]
        assert not wrong, "\n".join(wrong)
        parts = [{"part_number": number, "etag": put["etag"]} for number, put in enumerate(puts, 1)]
        game = await finalize(person, prepared["game_id"], parts if "parts" in prepared["upload"] else ())
        url = await signed_url(person, game["key"])
        whole = await tab.evaluate(GET, [url, ""])
        part = await tab.evaluate(GET, [url, f"bytes=0-{FIRST_BYTES - 1}"])
        await tab.route(f"{STRANGER}/**", lambda route: route.fulfill(body="<p>", content_type="text/html"))
        await tab.goto(f"{STRANGER}/")
        stranger = await tab.evaluate(GET, [url, ""])
    if (game["status"], game["size"]) != ("ready", size):
        wrong.append(f"the game is {game['status']} with {game['size']} bytes, sent were {size}")
    if abs((game.get("duration") or 0) - CLIP_SECONDS) > 0.5:
        wrong.append(f"the game lasts {game.get('duration')} s, sent were {CLIP_SECONDS} s")
    if (whole["status"], whole.get("sha256")) != (200, hashlib.sha256(video.read_bytes()).hexdigest()):
        wrong.append(f"GET in the browser did not give back what was sent: {whole}")
    elif whole["type"] != "video/mp4":
        wrong.append(f"GET in the browser: content type {whole['type'] or 'absent'}, a player needs video/mp4")
    ranged = f"bytes 0-{FIRST_BYTES - 1}/{size}"
    if (part["status"], part.get("size"), part.get("range")) != (206, FIRST_BYTES, ranged):
        wrong.append(f"a ranged GET in the browser, {ranged} expected: {part}")
    if stranger["status"]:
        wrong.append("a page of another site can read the video")
    assert not wrong, "\n".join(wrong)


async def _puts(tab: Page, upload: Mapping[str, Any], size: int) -> list[Mapping[str, Any]]:
    if upload["method"] == "single":
        return [await tab.evaluate(PUT, [upload["url"], upload["headers"], 0, size])]
    puts, begin = [], 0
    for part in upload["parts"]:
        puts.append(await tab.evaluate(PUT, [part["url"], part.get("headers", {}), begin, begin + part["size"]]))
        begin += part["size"]
    return puts


def _wrong_with_put(number: int, put: Mapping[str, Any]) -> list[str]:
    if put["status"] != 200:
        return [f"PUT {number} from the browser: {put['status'] or 'no answer that a page may see'} {put['error']}"]
    if not put["etag"]:
        return [f"PUT {number} from the browser: the page cannot read the ETag (the bucket's ExposeHeaders)"]
    return []
