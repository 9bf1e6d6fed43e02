from __future__ import annotations

from dataclasses import replace

import pytest

from parity.checks.kit.media import Probe
from parity.checks.product import bad_videos, exports, page, sockets, uploads
from parity.checks.product.bad_videos import BadVideoObservation, Refusal
from parity.checks.product.exports import ExportObservation, KeysObservation
from parity.checks.product.page import PageObservation
from parity.checks.product.sockets import SocketObservation
from parity.checks.product.uploads import Got, Sent, TransferObservation

SHA = "5" * 64
UPLOADED = TransferObservation(
    method="single",
    puts=[Sent(200, '"e"')],
    finalized="200",
    game={"status": "ready", "size": 1000, "duration": 3.0},
    whole=Got(200, 1000, "video/mp4", "", SHA),
    part=Got(206, 100, "video/mp4", "bytes 0-99/1000", "x"),
    size=1000,
    sha256=SHA,
    stranger=Got(0, 0, "", "", "", "TypeError"),
)
KEPT_AWAY = Got(0, 0, "", "", "", "TypeError: Failed to fetch")


def test_a_video_that_comes_back_as_it_was_sent_is_fine() -> None:
    assert uploads.judge(UPLOADED) == []


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (replace(UPLOADED, puts=[Sent(0, "", "TypeError: Failed to fetch")]), "no answer that a page may see"),
        (replace(UPLOADED, puts=[Sent(403, "")]), "403"),
        (replace(UPLOADED, puts=[Sent(200, "")]), "cannot read the ETag"),
        (replace(UPLOADED, game={}, finalized="422 parts"), "422 parts"),
        (replace(UPLOADED, game={**UPLOADED.game, "size": 0}), "0 bytes"),
        (replace(UPLOADED, game={**UPLOADED.game, "duration": None}), "lasts None"),
        (replace(UPLOADED, whole=KEPT_AWAY), "did not give back"),
        (replace(UPLOADED, whole=Got(200, 1000, "binary/octet-stream", "", SHA)), "binary/octet-stream"),
        (replace(UPLOADED, part=Got(200, 1000, "video/mp4", "", SHA)), "ranged GET"),
        (replace(UPLOADED, part=Got(206, 100, "video/mp4", "", "x")), "ranged GET"),
        (replace(UPLOADED, stranger=Got(200, 1000, "video/mp4", "", SHA)), "another site"),
    ],
)
def test_a_transfer_that_a_browser_could_not_make_is_caught(seen: TransferObservation, word: str) -> None:
    assert any(word in reason for reason in uploads.judge(seen))


def test_a_padded_video_has_the_size_and_ends_in_a_box_to_ignore() -> None:
    data = uploads.padded(b"video", 100)
    assert len(data) == 100
    assert data[5:13] == (95).to_bytes(4, "big") + b"free"


PROBE = Probe(5.5, "h264", "aac", 1280, 720, 9)
JOB = {"status": "complete", "size": 9, "reason": None}
EXPORTED = ExportObservation(JOB, "k", ["k"], PROBE, 5.5, (1280, 720), modal_renders=1, modal_wanted=True)


def test_a_reel_that_is_there_when_it_is_called_complete_is_fine() -> None:
    assert exports.judge(EXPORTED) == []
    assert exports.judge(replace(EXPORTED, modal_wanted=False, modal_renders=0)) == []


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (replace(EXPORTED, keys=[]), "called complete, but the bucket has no k"),
        (replace(EXPORTED, job={**JOB, "status": "failed", "reason": "not found"}), "failed: not found"),
        (replace(EXPORTED, job={**JOB, "size": 8}), "8 bytes"),
        (replace(EXPORTED, probe=replace(PROBE, duration_s=3.0)), "lasts 3.00"),
        (replace(EXPORTED, probe=replace(PROBE, audio="")), "silent"),
        (replace(EXPORTED, probe=replace(PROBE, video="vp9")), "vp9"),
        (replace(EXPORTED, probe=replace(PROBE, width=640)), "640×720"),
        (replace(EXPORTED, modal_renders=0), "no render_reel ran on Modal"),
        (replace(EXPORTED, modal_wanted=False), "though MODAL_ENABLED is false"),
    ],
)
def test_a_wrong_export_is_caught(seen: ExportObservation, word: str) -> None:
    assert any(word in reason for reason in exports.judge(seen))


ADDED = [
    f"staging/users/u/{rest}"
    for rest in ("profiles.json", "p/database.sqlite", "p/games/g", "p/clips/c", "p/exports/e")
]


def test_keys_below_the_prefix_are_fine() -> None:
    assert exports.judge_keys(KeysObservation(ADDED, "staging/")) == []


def test_a_key_outside_of_the_prefix_is_caught() -> None:
    found = exports.judge_keys(KeysObservation([*ADDED, "users/u/p/clips/x"], "staging/"))
    assert found == ["users/u/p/clips/x is not below staging/"]


@pytest.mark.parametrize("missing", range(len(ADDED)))
def test_a_kind_of_key_that_use_did_not_add_is_caught(missing: int) -> None:
    added = ADDED[:missing] + ADDED[missing + 1 :]
    assert len(exports.judge_keys(KeysObservation(added, "staging/"))) == 1


def message(kind: str, status: str, progress: float, **more: object) -> dict[str, object]:
    return {"type": kind, "export_id": "e", "status": status, "progress": progress, "key": None, **more}


TOLD = SocketObservation(
    "e",
    None,
    [message("state", "pending", 0), message("progress", "complete", 1, key="exports/e.mp4")],
    True,
    {"status": "complete", "key": "exports/e.mp4"},
    403,
)


def test_a_websocket_that_tells_state_progress_and_end_is_fine() -> None:
    assert sockets.judge_export(TOLD) == []


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (replace(TOLD, refused=403), "refused: 403"),
        (replace(TOLD, messages=[]), "no message told"),
        (replace(TOLD, messages=TOLD.messages[1:]), "first message is not"),
        (replace(TOLD, pong=False), "ping"),
        (replace(TOLD, messages=[{**TOLD.messages[1], "type": "state"}]), "no event was seen"),
        (replace(TOLD, stranger=None), "another site"),
        (replace(TOLD, rest={"status": "processing", "key": None}), "by REST status"),
        (
            replace(
                TOLD,
                messages=[message("state", "pending", 0.9), *TOLD.messages[1:1], message("progress", "failed", 0.2)],
            ),
            "goes back",
        ),
        (replace(TOLD, messages=[TOLD.messages[0], message("progress", "failed", 0.2, reason="no GPU")]), "no GPU"),
    ],
)
def test_a_websocket_that_leaves_something_out_is_caught(seen: SocketObservation, word: str) -> None:
    assert any(word in reason for reason in sockets.judge_export(seen))


USED = PageObservation(["profile", "download"], "", Probe(3.0, "h264", "aac", 854, 480, 9), [])


def test_a_page_that_does_its_job_is_fine() -> None:
    assert page.judge(USED) == []


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (replace(USED, stopped="after nothing: Timeout", probe=None), "after nothing"),
        (replace(USED, probe=None), "nothing was downloaded"),
        (replace(USED, problems=["uncaught: TypeError"]), "TypeError"),
        (replace(USED, probe=Probe(9.0, "h264", "aac", 854, 480, 9)), "lasts 9.00"),
    ],
)
def test_a_page_that_does_not_get_there_is_caught(seen: PageObservation, word: str) -> None:
    assert any(word in reason for reason in page.judge(seen))


REFUSED = BadVideoObservation(
    [Refusal("a text", (422,), 422, "not a video (source: Invalid data found); POST /api/games/prepare-upload again")],
    ["g/good"],
    "g/good",
    ["good"],
    "good",
    True,
)


def test_bad_videos_that_leave_nothing_are_fine() -> None:
    assert bad_videos.judge(REFUSED) == []


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (replace(REFUSED, refusals=[Refusal("a text", (422,), 200, "")]), "a text: 200, 422 expected"),
        (replace(REFUSED, refusals=[Refusal("a text", (422,), 500, "")]), "500"),
        (replace(REFUSED, refusals=[Refusal("a text", (422,), 422, "")]), "without a word"),
        (replace(REFUSED, refusals=[Refusal("a text", (422,), 422, "no video: /user_data/.work/x")]), "a path of"),
        (replace(REFUSED, media=["g/good", "g/bad"]), "g/bad stayed"),
        (replace(REFUSED, media=[]), "the good video is gone"),
        (replace(REFUSED, ready=["good", "bad"]), "called ready"),
        (replace(REFUSED, healthy=False), "not healthy"),
    ],
)
def test_a_bad_video_that_was_taken_is_caught(seen: BadVideoObservation, word: str) -> None:
    assert any(word in reason for reason in bad_videos.judge(seen))
