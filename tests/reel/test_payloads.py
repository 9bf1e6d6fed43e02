"""Payloads of the GPU functions: strict, but for fields of results that newer functions add."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from reel.payloads import (
    FRAME_SIZES,
    Box,
    DetectedFrame,
    DetectedItem,
    DetectItem,
    DetectPlayers,
    DetectPlayersResult,
    ExtractClip,
    ExtractClipResult,
    PayloadError,
    ReelClip,
    RenderOptions,
    RenderProgress,
    RenderReel,
    RenderReelResult,
    Wire,
)

PREFIX = "staging/users/u/profiles/p"
CLIP = ReelClip("c1", f"{PREFIX}/games/g/source.mp4", 0.5, 2.0)
REEL = RenderReel("e1", f"{PREFIX}/exports/e1.mp4", (CLIP, CLIP), RenderOptions("Hi", "9:16", "draft", "fade"))

EVERY: list[Wire] = [
    REEL,
    ExtractClip(f"{PREFIX}/games/g/source.mp4", f"{PREFIX}/clips/c.mp4", 0, 1),
    ExtractClipResult(f"{PREFIX}/clips/c.mp4", 10, 1.0, 320, 180, "h264", None),
    RenderReelResult("e1", f"{PREFIX}/exports/e1.mp4", 10, 1.0, 320, 180, "h264", "aac"),
    RenderProgress(0.5, "encode", 1.0),
    DetectPlayers((DetectItem("c1", f"{PREFIX}/clips/c.mp4", 0, 1),), 3),
    DetectPlayersResult((DetectedItem("c1", (DetectedFrame(0.5, (Box(0.1, 0.1, 0.2, 0.5, 0.9),)),)),)),
]


@pytest.mark.parametrize("payload", EVERY, ids=lambda payload: type(payload).__name__)
def test_a_payload_survives_the_way_there_and_back(payload: Wire) -> None:
    carried = pickle.loads(pickle.dumps(payload.to_dict()))
    assert type(payload).from_dict(carried) == payload


def _changed(**changes: Any) -> dict[str, Any]:
    return {**REEL.to_dict(), **changes}


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (_changed(clip="x"), ["unknown 'clip'"]),
        ({key: value for key, value in REEL.to_dict().items() if key != "clips"}, ["missing 'clips'"]),
        (_changed(clips=[{**CLIP.to_dict(), "start": 1}]), ["RenderReel.clips[0]", "unknown 'start'"]),
        (_changed(clips=[{**CLIP.to_dict(), "start_s": "1"}]), ["RenderReel.clips[0].start_s", "float", "str"]),
        (_changed(clips=[{**CLIP.to_dict(), "start_s": float("nan")}]), ["clips[0].start_s", "finite"]),
        (_changed(clips=[{**CLIP.to_dict(), "end_s": 0.5}]), ["end_s", "after start_s"]),
        (_changed(clips=[]), ["RenderReel.clips", "1 to 50"]),
        (_changed(clips="no"), ["RenderReel.clips", "expected a list"]),
        (_changed(export_id=None), ["RenderReel.export_id", "expected str"]),
        (_changed(options={"transition": "wipe"}), ["RenderReel.options.transition", "'cut'", "'wipe'"]),
        (_changed(options={"overlay_text": "x" * 201}), ["overlay_text", "200"]),
        (_changed(output_key="exports/../e1.mp4"), ["RenderReel.output_key", "full object key"]),
        (_changed(output_key="/staging/e1.mp4"), ["RenderReel.output_key", "full object key"]),
        ([], ["RenderReel", "expected an object"]),
    ],
)
def test_a_payload_of_another_shape_is_refused_and_the_place_is_named(data: Any, names: list[str]) -> None:
    with pytest.raises(PayloadError) as refused:
        RenderReel.from_dict(data)
    for name in names:
        assert name in str(refused.value)


def test_a_number_is_not_a_flag() -> None:
    with pytest.raises(PayloadError, match="size_bytes: expected int, got bool"):
        ExtractClipResult.from_dict({**EVERY[2].to_dict(), "size_bytes": True})


@pytest.mark.parametrize("result", [one for one in EVERY if type(one).__name__.endswith("Result")], ids=repr)
def test_a_result_of_newer_functions_may_have_fields_that_this_release_does_not_know(result: Wire) -> None:
    newer = {**result.to_dict(), "added_later": 1}
    if "items" in newer:
        newer["items"] = [{**item, "added_later": 1} for item in newer["items"]]
    assert type(result).from_dict(newer) == result


def test_every_frame_size_is_even_and_matches_its_aspect() -> None:
    for (aspect, _), (width, height) in FRAME_SIZES.items():
        across, down = map(int, aspect.split(":"))
        assert width % 2 == height % 2 == 0
        assert abs(width / height - across / down) < 0.01


def test_the_length_of_a_reel_is_the_sum_of_its_clips() -> None:
    assert REEL.duration_s == pytest.approx(3.0)
