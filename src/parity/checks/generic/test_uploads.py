"""Files as a browser uploads and plays them, from and to the bucket or through the app."""

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
# R2's rules for browsers without the one that lets a page read ETags.
WITHOUT_ETAG = [{"AllowedOrigins": ["*"], "AllowedMethods": ["GET", "PUT", "HEAD"], "AllowedHeaders": ["*"]}]
# An app that sends videos in parts does so for one of this size: R2's parts are at least 5 MiB.
LARGE = 24 * 1024 * 1024
MINUTE_S, DAY_S = 60.0, 86_400.0
# Presigned URLs live a week at most (X-Amz-Expires, facts of R2's S3 API, 2026).
WEEK_S = 7 * DAY_S
PLAY = """async ([url, first, last]) => {
  try {
    const answer = await fetch(url, {headers: {Range: `bytes=${first}-${last}`}});
    return {status: answer.status, bytes: Array.from(new Uint8Array(await answer.arrayBuffer()))};
  } catch (error) { return {error: String(error)}; }
}"""


@dataclass
class Sent:
    """What the contract sent to presigned URLs (``api.send_file``)."""

    urls: list[str] = field(default_factory=list)
    # Attempts with another size or type, before the real one: what was changed, and the status.
    tried: dict[str, int] = field(default_factory=dict)


def like_no_other(video: bytes) -> bytes:
    """The same film as another file: a ``free`` box at its end."""
    return video + b"\0\0\0\x18free" + secrets.token_bytes(16)


def watch(person: Person, *, really: bool = True, try_others: bool = False) -> Sent:
    """Sees what goes to presigned URLs; without ``really`` nothing is sent and the page says that it was."""
    sent, send_file = Sent(), person.api.send_file

    async def seen(
        url: str, data: bytes, content_type: str | None = None, *, method: str = "PUT",
        headers: Mapping[str, str] | None = None,
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
        return await send_file(url, data, content_type, method=method, headers=headers)

    person.api.send_file = seen  # type: ignore[method-assign]
    return sent


@check(
    "G",
    "What is uploaded is in the bucket, byte for byte, under a key of its own",
    broken=Proxy("writes_dropped"),
    because="same key|a second one is refused|is not in the bucket|other bytes",
    needs=("upload", "ffmpeg"),
    rests_on=("test_someone_new_can_come",),
    deadline_s=120,
)
async def test_upload(person: Person, bucket: Bucket, video: bytes) -> None:
    """Give each upload a key of its own, and compare size and ETag when it is finished."""
    films = [like_no_other(video) for _ in range(2)]
    there = [await person.app.upload(films[0])]
    try:
        there.append(await person.app.upload(films[1]))
    except Refused as refused:
        raise AssertionError(
            f"one upload works, and a second one is refused: {refused}. Do both get one key?"
        ) from None
    assert there[0].key != there[1].key, (
        f"two uploads lie under the same key {there[0].key}: the second took the first's place"
    )
    for film, one in zip(films, there, strict=True):
        await same_bytes(one, film, bucket)


async def same_bytes(uploaded: Uploaded, film: bytes, bucket: Bucket) -> None:
    assert uploaded.key in await bucket.objects(uploaded.key), (
        f"the upload is called finished, and {uploaded.key} is not in the bucket: ask R2 for it (HEAD) before you say"
        " so"
    )
    found = await bucket.read(uploaded.key)
    assert found == film, (
        f"{uploaded.key} holds other bytes than were sent ({len(found):,}, not {len(film):,}): compare size and ETag"
        " when an upload is finished"
    )


@check(
    "F",
    "A large file can be uploaded; where it is sent in parts, the page may read their ETags",
    broken=BucketCors(WITHOUT_ETAG),
    because="ETag",
    needs=("upload", "origin", "ffmpeg"),
    rests_on=("test_upload",),
    deadline_s=150,
)
async def test_large_upload(person: Person, bucket: Bucket, video: bytes) -> None:
    """Send equal parts of at least 5 MiB, and expose ETag in the bucket's CORS policy."""
    film = video + (LARGE + 8).to_bytes(4, "big") + b"free" + secrets.token_bytes(LARGE)
    await same_bytes(await person.app.upload(film), film, bucket)


@check(
    "F",
    "The page may read any range of an upload",
    broken=Both([BucketCors(ELSEWHERE), Proxy("no_cors")]),
    because="preflight of the upload|may not read",
    needs=("upload", "origin", "ffmpeg"),
    rests_on=("test_upload",),
    live=True,
    fast=True,
)
async def test_played_in_ranges(person: Person, stack: Stack, video: bytes) -> None:
    """Name the page's origin in the bucket's CORS policy; pass Range on where the app serves files."""
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
            f" Access-Control-Allow-Origin for {stack.site.origin}. The bucket's CORS policy must name the page's"
            " origin"
        )
        assert part.status_code == 206, (
            f"bytes={asked} of the video is answered with {part.status_code}: a player cannot seek"
        )
        assert part.content == expected, (
            f"bytes={asked} of the video gives {len(part.content)} bytes, and not those of the upload: a player shows"
            " garbage, or stops"
        )


def removable(person: Person, stack: Stack) -> None:
    """Nothing is uploaded to a deployed app that the person cannot delete again. Raises ``NotDeclared``."""
    if stack.site.live and not person.can("leave"):
        not_declared("the contract does not say how a person deletes everything (leave): the upload would stay there")


def of_app(url: str, stack: Stack) -> bool:
    """Whether the URL leads to the app, and not to the bucket: there the person's headers go along."""
    return not url.startswith("http") or httpx.URL(url).netloc == httpx.URL(stack.target.api_url).netloc


@check(
    "F",
    "In a real browser the page reads a range of an upload",
    broken=Both([BucketCors(ELSEWHERE), Proxy("no_cors")]),
    because="preflight of the upload|the browser kept",
    needs=("upload", "origin", "browser", "ffmpeg"),
    rests_on=("test_upload",),
    deadline_s=120,
)
async def test_played_in_browser(person: Person, stack: Stack, page: Pages, video: bytes) -> None:
    """Name the page's origin in the bucket's CORS policy, and allow Range."""
    uploaded = await person.app.upload(video)
    if uploaded.url is None or of_app(uploaded.url, stack):
        not_declared("the contract names no URL of the bucket for the upload (Uploaded.url)")
    async with page() as tab:
        await open_blank(tab, str(stack.site.origin))
        seen: dict[str, Any] = await tab.evaluate(PLAY, [uploaded.url, 10, 109])
    assert "error" not in seen, (
        f"the browser kept the video from a page of {stack.site.origin}: {seen.get('error')}. The bucket's CORS policy"
        " must name the page's origin, and allow Range"
    )
    assert (seen["status"], bytes(seen["bytes"])) == (206, video[10:110]), (
        f"the browser asked for bytes 10 to 109 of the video and got {seen['status']} with {len(seen['bytes'])} bytes:"
        " a player cannot seek"
    )


@check(
    "F",
    "A presigned upload is bound to the size and type that were announced",
    broken=R2Rules("4,8"),
    because="was taken",
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
    except Refused as error:  # also where another file has taken its place
        refusal = error
    if refusal is not None and not sent.tried:
        raise refusal
    if not sent.tried:
        not_declared("the contract sends nothing to a presigned URL (api.send_file)")
    taken = [what for what, status in sent.tried.items() if status < 300]
    assert not taken, (
        f"{' and '.join(taken)} was taken by the presigned URL: sign Content-Length and Content-Type, else anyone who"
        " may upload can store anything of any size at your cost"
    )
    if refusal is not None:
        raise refusal


@check(
    "F",
    "A link to an upload works for two minutes, and no longer after a week",
    broken=R2Rules("6"),
    because="still works",
    needs=("upload", "ffmpeg"),
    rests_on=("test_upload",),
    alone=True,
)
async def test_link_expires(person: Person, stack: Stack, faults: Faults, video: bytes) -> None:
    """Sign links for minutes to hours; keep the bucket private."""
    uploaded = await person.app.upload(video)
    if uploaded.url is None or of_app(uploaded.url, stack):
        not_declared("the contract names no URL of the bucket for the upload (Uploaded.url)")
        return
    statuses = {}
    for seconds in (2 * MINUTE_S, WEEK_S + DAY_S):
        async with faults.on("*", "GetObject", skew=seconds, must_fire=False):
            statuses[seconds] = (await stack.http.get(uploaded.url)).status_code
    assert statuses[2 * MINUTE_S] < 300, (
        f"two minutes later the link answers {statuses[2 * MINUTE_S]}: a film that is watched, or uploaded over a slow"
        " line, breaks off"
    )
    assert statuses[WEEK_S + DAY_S] >= 400, (
        "eight days later the link still works: everyone who was given it once can use it for ever. Sign links for"
        " minutes to hours, and keep the bucket private"
    )


@check(
    "G",
    "An upload whose bytes never came to R2 is not called finished",
    broken=Proxy("refusals_hidden"),
    because="is called finished",
    needs=("upload", "ffmpeg"),
    rests_on=("test_upload",),
    alone=True,
)
async def test_upload_without_bytes(person: Person, bucket: Bucket, faults: Faults, video: bytes) -> None:
    """Ask R2 for the object (HEAD) before the upload is called finished."""
    first = like_no_other(video)
    kept = await person.app.upload(first)
    direct, finished = watch(person, really=False), None
    with contextlib.suppress(Refused):
        finished = await person.app.upload(video)
    if not direct.urls:  # the bytes go through the app: R2 refuses them
        async with faults.on("*", "PutObject", status=503), faults.on("*", "UploadPart", status=503, must_fire=False):
            finished = None
            with contextlib.suppress(Refused):
                finished = await person.app.upload(like_no_other(video))
    there = finished is not None and finished.key in await bucket.objects(finished.key)
    assert finished is None or there, (
        f"an upload is called finished, and nothing of it came to R2: {finished.key if finished else ''} is not there."
        " Ask R2 for the object (HEAD: size, ETag) before you say so"
    )
    assert kept.key in await bucket.objects(kept.key), f"an upload that failed took the earlier one {kept.key} along"
    await same_bytes(kept, first, bucket)
