"""Invalid input is refused with a reason, and changes nothing in the bucket or the profile."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from broken import bad_input_stored, uploads_unchecked
from journey import EMPTY, SMALL, SMALL_SECONDS, prepare, profile_prefix, upload
from parity.checks import Wrap, check
from parity.checks.bucket import Bucket
from parity.checks.media import Media
from parity.checks.person import Person


@dataclass(frozen=True)
class Bad:
    """A request that must be refused with one of ``expected``."""

    what: str
    method: str
    path: str
    expected: tuple[int, ...]
    json: object = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


JSON = {"Content-Type": "application/json"}
REQUESTS: tuple[Bad, ...] = (
    Bad("unknown field", "POST", "/api/profiles", (422,), {"name": "x", "role": "admin"}),
    Bad("wrong type", "POST", "/api/profiles", (422,), {"name": ["x"]}),
    Bad("empty name", "POST", "/api/profiles", (422,), {"name": ""}),
    Bad("missing field", "POST", "/api/profiles", (422,), {}),
    Bad("no JSON", "POST", "/api/profiles", (400, 422), content=b"{name: x}", headers=JSON),
    Bad("not UTF-8", "POST", "/api/profiles", (400, 422), content=b'{"name": "\xff\xfe"}', headers=JSON),
    Bad("path-like id", "POST", "/api/profiles", (422,), {"name": "x", "id": "../../production"}),
    Bad("oversized body", "POST", "/api/profiles", (413,), content=b'{"name": "' + b"x" * 3_000_000, headers=JSON),
    Bad("path-like user", "POST", "/api/profiles", (400,), {"name": "x"}, headers={"X-User-ID": "../production"}),
    Bad("user with a slash", "POST", "/api/profiles", (400,), {"name": "x"}, headers={"X-User-ID": "a/b"}),
    Bad("path-like profile", "PATCH", "/api/settings", (400,), {"theme": "dark"}, headers={"X-Profile-ID": "../x"}),
    Bad("unknown profile", "PATCH", "/api/settings", (404,), {"theme": "dark"}, headers={"X-Profile-ID": "nobody"}),
    Bad("unknown value", "PATCH", "/api/settings", (422,), {"theme": "sepia"}),
    Bad("key of another profile", "GET", "/api/storage/url?key=../other/games/a/source.mp4", (400, 404, 422)),
)
TEXT = b"This is a text and no video.\n" * 400
# Matches a folder of the Machine in a reason, but not a path of the API.
MACHINE_PATH = re.compile(r"file:|(?<![\w:/.])/(?!api/)[\w.-]+/")


@check(
    "M",
    "Invalid input is refused with a 4xx and a reason, and changes nothing in the bucket or the profile",
    broken=Wrap(bad_input_stored.wrap),
    because="after refused requests",
)
async def test_bad_input_leaves_nothing(person: Person, bucket: Bucket) -> None:
    """Validate a request before anything is stored, and answer with a problem body whose detail says what was wrong."""
    # The first write creates the database. The requests after it must change nothing.
    settings = await person.api.call("PATCH", "/api/settings", {"theme": "light"})
    before, wrong = await bucket.objects(person.owns), []
    for bad in REQUESTS:
        more = {"content": bad.content} if bad.content is not None else {}
        answer = await person.api.ask(bad.method, bad.path, bad.json, headers=bad.headers, **more)
        is_problem = answer.headers.get("content-type", "").startswith("application/problem+json")
        if answer.status_code not in bad.expected:
            wrong.append(f"{bad.what}: {answer.status_code}, {' or '.join(map(str, bad.expected))} expected")
        elif not is_problem or not answer.json().get("detail"):
            wrong.append(f"{bad.what}: {answer.status_code} without a problem body that has a detail")
    after = await bucket.objects(person.owns)
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            how = "appeared" if key not in before else "is gone" if key not in after else "changed"
            wrong.append(f"after refused requests {key} {how}")
    shown = await person.api.call("GET", "/api/settings")
    if shown != settings:
        wrong.append(f"settings were {settings}, are {shown}")
    assert not wrong, "\n".join(wrong)


@check(
    "M",
    "A text, a truncated video and an empty upload are refused with a reason, and leave no object behind",
    broken=Wrap(uploads_unchecked.wrap),
    because="a text as video: 200, 422 expected",
    needs=("ffmpeg",),
)
async def test_bad_videos_leave_nothing(person: Person, bucket: Bucket, media: Media) -> None:
    """Inspect an upload before the game is called ready, and delete the object of a refused upload."""
    video = await media.file(SMALL_SECONDS, SMALL)
    good, data = await upload(person, video), video.read_bytes()
    late, backwards = (SMALL_SECONDS + 5.0, SMALL_SECONDS + 8.0), (3.0, 1.0)
    refused = {
        "a text as video": (422, await _finished(person, TEXT, len(TEXT))),
        "a truncated video": (422, await _finished(person, data[: len(data) // 3], len(data))),
        "a video cut off in the middle": (422, await _finished(person, data[: len(data) // 3], len(data) // 3)),
        "nothing uploaded": (409, await _finished(person, None, len(data))),
        "a clip past the end": (422, await _clipped(person, good["id"], *late)),
        "a clip that ends before it starts": (422, await _clipped(person, good["id"], *backwards)),
    }
    wrong = []
    for what, (expected, (status, detail)) in refused.items():
        if status != expected:
            wrong.append(f"{what}: {status}, {expected} expected ({detail[:150]})")
        elif not detail:
            wrong.append(f"{what}: {status} without a detail that says what was wrong")
        elif MACHINE_PATH.search(detail):
            wrong.append(f"{what}: the reason contains a path of the Machine ({detail[:150]})")
    games = (await person.api.call("GET", "/api/games"))["games"]
    kept = f"{profile_prefix(person)}{good['key']}"
    # Empty objects do not count: the app leaves one so that the upload's URL, which only creates, cannot be used again.
    stored = (await bucket.objects(profile_prefix(person))).items()
    keys = [key for key, etag in stored if "/games/" in key and etag.strip('"') != EMPTY]
    wrong += [f"{key} stayed in the bucket" for key in keys if key != kept]
    wrong += [] if kept in keys else [f"the good video is gone: {kept}"]
    ready = [game["id"] for game in games if game["status"] == "ready"]
    wrong += (
        [] if ready == [good["id"]] else [f"games that are called ready: {ready}, but only {good['id']} is a video"]
    )
    assert not wrong, "\n".join(wrong)


async def _finished(person: Person, data: bytes | None, size: int) -> tuple[int, str]:
    """Announce ``size`` bytes, upload ``data`` (None: nothing) and finish. Returns the status and the detail."""
    prepared = await prepare(person, size)
    if data is not None:
        # R2 itself may refuse a body whose size differs from the announced one, because the size is signed.
        sent = await person.api.http.put(
            prepared["upload"]["url"], content=data, headers=prepared["upload"].get("headers", {})
        )
        assert sent.status_code in (200, 403), f"the presigned PUT answered {sent.status_code}: {sent.text[:200]}"
        if sent.status_code == 403:
            return 422, "refused by the signature"
    answer = await person.api.ask("POST", f"/api/games/{prepared['game_id']}/finalize-upload", {"parts": []})
    return answer.status_code, _detail(answer.json())


async def _clipped(person: Person, game_id: str, start: float, end: float) -> tuple[int, str]:
    body = {"game_id": game_id, "name": "bad", "start": start, "end": end}
    answer = await person.api.ask("POST", "/api/clips", body)
    return answer.status_code, _detail(answer.json())


def _detail(body: Any) -> str:
    return str(body.get("detail", ""))
