"""Uploads and playback of files as a browser does them, directly with the bucket or through the app."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from parity.checks import Both, BucketCors, Proxy, R2Rules, check
from parity.checks.browser import Pages
from parity.checks.bucket import Bucket
from parity.checks.faults import Faults
from parity.checks.generic.support import not_declared, readable
from parity.checks.generic.test_browser import open_blank
from parity.checks.person import Person
from parity.checks.stack import Stack
from parity.contract import Refused, Uploaded

ELSEWHERE = [{"AllowedOrigins": ["https://elsewhere.example"], "AllowedMethods": ["GET", "PUT"]}]
# A file this large is sent in parts by an app that uses multipart uploads; R2's parts have at least 5 MiB.
LARGE = 24 * 1024 * 1024
MINUTE_S, DAY_S = 60.0, 86_400.0
# Presigned URLs are valid for a week at most (X-Amz-Expires; R2's S3 API, 2026).
WEEK_S = 7 * DAY_S
PLAY = """async ([url, first, last]) => {
  try {
    const answer = await fetch(url, {headers: {Range: `bytes=${first}-${last}`}});
    return {status: answer.status, bytes: Array.from(new Uint8Array(await answer.arrayBuffer()))};
  } catch (error) { return {error: String(error)}; }
}"""


@dataclass
class Sent:
    """What the contract's ``upload`` sent to presigned URLs through ``api.send_file``."""

    urls: list[str] = field(default_factory=list)
    # Attempts with another size or type, made before the real upload: a description, and the status of the answer.
    tried: dict[str, int] = field(default_factory=dict)


def like_no_other(video: bytes) -> bytes:
    """The same film with other bytes: a ``free`` box of random content at its end, which players ignore."""
    return video + b"\0\0\0\x18free" + secrets.token_bytes(16)


def watch(person: Person, *, really: bool = True, try_others: bool = False) -> Sent:
    """Record what the person's contract sends to presigned URLs.

    Without ``really`` nothing is sent, and the contract is given an ETag as if it were. With ``try_others`` a file of
    another size and one of another type are sent to the first URL before the right one.
    """
    sent, send_file = Sent(), person.api.send_file

    async def seen(
        url: str, data: bytes, content_type: str | None = None, *, method: str = "PUT",
        headers: Mapping[str, str] | None = None, etag: bool | None = None,
    ) -> str:  # fmt: skip
        sent.urls.append(url)
        if not really:
            return '"00000000000000000000000000000000"'
        if try_others and len(sent.urls) == 1:
            kind = {"Content-Type": content_type} if content_type else {}
            others: list[tuple[str, bytes, dict[str, str]]] = [
                ("a file of twice the size", data + data, kind),
                ("a page of HTML in the video's place", data, {"Content-Type": "text/html"}),
            ]
            for what, other, named in others if content_type else others[:1]:
                answer = await person.api.http.request(method, url, content=other, headers={**named, **(headers or {})})
                sent.tried[what] = answer.status_code
        return await send_file(url, data, content_type, method=method, headers=headers, etag=etag)

    person.api.send_file = seen  # type: ignore[method-assign]
    return sent


@check(
    "G",
    "Each upload is in the bucket, byte for byte, under its own key",
    broken=Proxy("writes_dropped"),
    because="under the same key|a second one is refused|but .* is not in the bucket|holds other bytes",
    needs=("upload", "ffmpeg"),
    rests_on=("test_someone_new_can_come",),
    deadline_s=120,
)
async def test_upload(person: Person, bucket: Bucket, video: bytes) -> None:
    """Give each upload its own key, and compare size and ETag before you call it finished."""
    films = [like_no_other(video) for _ in range(2)]
    there = [await person.app.upload(films[0])]
    try:
        there.append(await person.app.upload(films[1]))
    except Refused as refused:
        raise AssertionError(
            f"one upload works, and a second one is refused: {refused}. Give each upload its own key"
        ) from None
    assert there[0].key != there[1].key, (
        f"two uploads lie under the same key {there[0].key}: the second replaced the first. Give each its own key"
    )
    for film, one in zip(films, there, strict=True):
        await same_bytes(one, film, bucket)


async def same_bytes(uploaded: Uploaded, film: bytes, bucket: Bucket) -> None:
    """Assert that the bucket holds exactly these bytes under the key of the upload."""
    assert uploaded.key in await bucket.objects(uploaded.key), (
        f"the app calls the upload finished, but {uploaded.key} is not in the bucket: ask R2 for the object (HEAD)"
        " before you call it finished"
    )
    found = await bucket.read(uploaded.key)
    assert found == film, (
        f"{uploaded.key} holds other bytes than were sent ({len(found):,} bytes; {len(film):,} were sent): compare size"
        " and ETag before you call an upload finished"
    )


@check(
    "F",
    "A large file can be uploaded; if it is sent in parts, the page may read their ETags",
    broken=Both([BucketCors(ELSEWHERE), Proxy("writes_dropped")]),
    because="preflight of the upload|holds other bytes",
    needs=("upload", "origin", "ffmpeg"),
    rests_on=("test_upload",),
    deadline_s=150,
)
async def test_large_upload(person: Person, bucket: Bucket, video: bytes) -> None:
    """Send equal parts of at least 5 MiB, and expose ETag in the bucket's CORS policy."""
    await person.app.upload(like_no_other(video))
    film = video + (LARGE + 8).to_bytes(4, "big") + b"free" + secrets.token_bytes(LARGE)
    await same_bytes(await person.app.upload(film), film, bucket)


@check(
    "F",
    "The page may read any byte range of an upload, as a video player does",
    broken=Both([BucketCors(ELSEWHERE), Proxy("no_cors")]),
    because="preflight of the upload|the page may not read the video",
    needs=("upload", "origin", "ffmpeg"),
    rests_on=("test_upload",),
    live=True,
    fast=True,
)
async def test_played_in_ranges(person: Person, stack: Stack, video: bytes) -> None:
    """Allow the page's origin in the bucket's CORS policy; if the app serves the file, answer Range with 206."""
    removable(person, stack)
    uploaded = await person.app.upload(video)
    if uploaded.url is None:
        not_declared("the contract names no URL of the upload (Uploaded.url)")
        return
    for asked, expected in {"10-109": video[10:110], "0-0": video[:1], "-50": video[-50:]}.items():
        headers = {**person.api.all_headers, "Range": f"bytes={asked}"} if of_app(uploaded.url, stack) else {
            "Origin": str(stack.site.origin), "Range": f"bytes={asked}"}  # fmt: skip
        part = await person.api.http.get(uploaded.url, headers=headers, follow_redirects=True)
        assert readable(part.headers, stack.site.origin), (
            f"the page may not read the video: {part.request.url.host} answers {part.status_code} without"
            f" Access-Control-Allow-Origin for {stack.site.origin}. Allow this origin in the bucket's CORS policy"
        )
        assert part.status_code == 206, (
            f"bytes={asked} of the video is answered with {part.status_code}, not 206, so a player cannot seek. Answer"
            " the Range header"
        )
        assert part.content == expected, (
            f"bytes={asked} of the video gives {len(part.content)} bytes that differ from the upload: a player shows"
            " garbage or stops. Answer exactly the range that was asked for"
        )


def removable(person: Person, stack: Stack) -> None:
    """Ends the check as "not declared" where it would leave an upload in a deployed app. Raises ``NotDeclared``."""
    if stack.site.live and not person.can("leave"):
        not_declared(
            "the contract has no leave, which deletes a person's data: the upload would stay in the deployed app"
        )


def of_app(url: str, stack: Stack) -> bool:
    """Whether the URL leads to the app, which needs the person's headers, and not to the bucket."""
    return not url.startswith("http") or httpx.URL(url).netloc == httpx.URL(stack.target.api_url).netloc


@check(
    "F",
    "In a real browser the page can read a byte range of an upload from the bucket",
    broken=Both([BucketCors(ELSEWHERE), Proxy("no_cors")]),
    because="preflight of the upload|the browser kept the video",
    needs=("upload", "origin", "browser", "ffmpeg"),
    rests_on=("test_upload",),
    deadline_s=120,
)
async def test_played_in_browser(person: Person, stack: Stack, page: Pages, video: bytes) -> None:
    """Allow the page's origin and the header Range in the bucket's CORS policy."""
    uploaded = await person.app.upload(video)
    if uploaded.url is None or of_app(uploaded.url, stack):
        not_declared("the contract names no URL of the bucket for the upload (Uploaded.url)")
    async with page() as tab:
        await open_blank(tab, str(stack.site.origin))
        seen: dict[str, Any] = await tab.evaluate(PLAY, [uploaded.url, 10, 109])
    assert "error" not in seen, (
        f"the browser kept the video from a page of {stack.site.origin}: {seen.get('error')}. Allow this origin and the"
        " header Range in the bucket's CORS policy"
    )
    assert (seen["status"], bytes(seen["bytes"])) == (206, video[10:110]), (
        f"the browser asked for bytes 10 to 109 of the video and got status {seen['status']} with {len(seen['bytes'])}"
        " bytes, so a player cannot seek. Do not disable ranges for this URL"
    )


@check(
    "F",
    "A presigned upload URL accepts only the size and type that were announced",
    broken=R2Rules("4,8"),
    because="was taken by the presigned URL",
    needs=("upload", "ffmpeg"),
    rests_on=("test_upload",),
    live=True,
)
async def test_upload_is_bound(person: Person, stack: Stack, video: bytes) -> None:
    """Sign Content-Length and Content-Type into the URL."""
    removable(person, stack)
    sent = watch(person, try_others=True)
    refusal: Refused | None = None
    try:
        await person.app.upload(video)
    except Refused as error:  # the app may refuse because one of the other files was stored in the upload's place
        refusal = error
    if refusal is not None and not sent.tried:
        raise refusal
    if not sent.tried:
        not_declared("the contract sends no file to a presigned URL (api.send_file)")
    taken = [what for what, status in sent.tried.items() if status < 300]
    assert not taken, (
        f"{' and '.join(taken)} was taken by the presigned URL. Anyone who may upload can store files of any size and"
        " type at your cost: sign Content-Length and Content-Type into the URL"
    )
    if refusal is not None:
        raise refusal


@check(
    "F",
    "A link to an upload works for at least two minutes, and no longer works after eight days",
    broken=R2Rules("6"),
    because="the link still works",
    needs=("upload", "ffmpeg"),
    rests_on=("test_upload",),
    alone=True,
)
async def test_link_expires(person: Person, stack: Stack, faults: Faults, video: bytes) -> None:
    """Sign links that expire after minutes to hours, and keep the bucket private."""
    late: dict[str, Any] = {"skew": 2 * MINUTE_S, "must_fire": False}
    async with faults.on("*", "PutObject", **late), faults.on("*", "UploadPart", **late):
        try:
            uploaded = await person.app.upload(video)
        except Refused as refused:
            raise AssertionError(
                f"two minutes after it was given out the link to send an upload is refused ({refused}), so an upload"
                " over a slow line breaks off. Sign links that expire after minutes to hours"
            ) from None
    if uploaded.url is None or of_app(uploaded.url, stack):
        not_declared("the contract names no URL of the bucket for the upload (Uploaded.url)")
        return
    statuses = {}
    for seconds in (2 * MINUTE_S, WEEK_S + DAY_S):
        async with faults.on("*", "GetObject", skew=seconds, must_fire=False):
            statuses[seconds] = (await stack.http.get(uploaded.url)).status_code
    assert statuses[2 * MINUTE_S] < 300, (
        f"two minutes after it was given out the link answers {statuses[2 * MINUTE_S]}, so a film breaks off while it"
        " is watched. Sign links that expire after minutes to hours"
    )
    assert statuses[WEEK_S + DAY_S] >= 400, (
        "eight days later the link still works, so everyone who has ever got it can use it without end. Sign links that"
        " expire after minutes to hours, and keep the bucket private"
    )


@check(
    "G",
    "An upload whose bytes did not reach R2 is not called finished",
    broken=Proxy("refusals_hidden"),
    because="is called finished, but R2 has no object",
    needs=("upload", "ffmpeg"),
    rests_on=("test_upload",),
    alone=True,
)
async def test_upload_without_bytes(person: Person, bucket: Bucket, video: bytes) -> None:
    """Ask R2 for the object (HEAD) before you call the upload finished."""
    first = like_no_other(video)
    kept = await person.app.upload(first)
    direct, finished = watch(person, really=False), None
    with contextlib.suppress(Refused):
        finished = await person.app.upload(video)
    if not direct.urls:
        not_declared("the contract sends no file to a presigned URL (api.send_file): see test_refused_upload")
    there = finished is not None and finished.key in await bucket.objects(finished.key)
    assert finished is None or there, (
        f"an upload is called finished, but R2 has no object {finished.key if finished else ''}. Ask R2 for the object"
        " (HEAD: size, ETag) before you call an upload finished"
    )
    assert kept.key in await bucket.objects(kept.key), (
        f"a failed upload deleted an earlier upload, {kept.key}: let the clean-up delete only the key of the failed one"
    )
    await same_bytes(kept, first, bucket)
