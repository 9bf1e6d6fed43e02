"""A picture that changes its size in the middle of a recording is shown in its own shape all the time."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest
from tests.reel.matrix import OneFile

from reel.errors import UnusableVideo
from reel.payloads import ExtractClip
from reel.probe import read_probe
from reel.render import extract_clip
from reel.tools import Tools

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "3", "-flags", "+ilme+ildct", "-top", "1")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8")
# Parts of a second each: size, and width of a pixel over its height.
TURNED = (("160x90", "1"), ("320x180", "1"), ("90x160", "1"))
SD_TO_HD = (("180x144", "64/45"), ("320x180", "1"), ("180x144", "64/45"))


def make(parts: tuple[tuple[str, str], ...], suffix: str, encode: tuple[str, ...], folder: Path, tools: Tools) -> Path:
    start = [tools.ffmpeg, "-v", "error", "-y"]
    made = []
    for number, (size, aspect) in enumerate(parts):
        made.append(folder / f"part-{number}.{suffix}")
        picture = f"color=c=white:size={size}:rate=25:duration=1,setsar={aspect}"
        clock = ["-output_ts_offset", str(number + 1)] if suffix == "ts" else []
        subprocess.run([*start, "-f", "lavfi", "-i", picture, *encode, *clock, str(made[-1])], check=True)
    path = folder / f"source.{suffix}"
    if suffix == "ts":
        path.write_bytes(b"".join(part.read_bytes() for part in made))
        return path
    listing = folder / "parts.txt"
    listing.write_text("".join(f"file '{part}'\n" for part in made))
    subprocess.run([*start, "-f", "concat", "-safe", "0", "-i", str(listing), "-c", "copy", str(path)], check=True)
    return path


def white_areas(clip: Path, width: int, height: int, tools: Tools) -> list[tuple[int, int]]:
    """Width and height of what is not black, in the middle of each part."""
    command = [tools.ffmpeg, "-v", "error", "-i", str(clip), "-pix_fmt", "gray", "-f", "rawvideo", "-"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    found = []
    for number in (12, 37, 62):
        frame = data[number * width * height : (number + 1) * width * height]
        row, column = frame[height // 2 * width :][:width], frame[width // 2 :: width]
        found.append((sum(value > 128 for value in row), sum(value > 128 for value in column)))
    return found


@pytest.mark.parametrize(
    ("parts", "suffix", "encode", "frame", "areas"),
    [
        (TURNED, "ts", H264, (160, 90), [(160, 90), (160, 90), (50, 90)]),
        (TURNED, "ts", MPEG2, (160, 90), [(160, 90), (160, 90), (50, 90)]),
        (TURNED, "webm", VP9, (160, 90), [(160, 90), (160, 90), (50, 90)]),
        (SD_TO_HD, "ts", H264, (256, 144), [(256, 144)] * 3),
        (SD_TO_HD, "ts", MPEG2, (256, 144), [(256, 144)] * 3),
    ],
    ids=["turned", "turned-interlaced", "turned-webm", "sd-to-hd", "sd-to-hd-interlaced"],
)
def test_each_part_has_its_own_shape(
    parts: tuple[tuple[str, str], ...],
    suffix: str,
    encode: tuple[str, ...],
    frame: tuple[int, int],
    areas: list[tuple[int, int]],
    tools: Tools,
    tmp_path: Path,
) -> None:
    store = OneFile(make(parts, suffix, encode, tmp_path, tools), tmp_path / "result.mp4")
    job = ExtractClip("a/games/g/source", "a/clip.mp4", 0.0, 3.0)
    asyncio.run(extract_clip(job, store, tmp_path, tools=tools, deadline_s=600))
    found = white_areas(store.result, *frame, tools)
    # A row at the border between white and black may be either.
    assert all(
        abs(one - other) <= 2
        for (area, wanted) in zip(found, areas, strict=True)
        for one, other in zip(area, wanted, strict=True)
    ), found


@pytest.mark.parametrize(
    ("codec", "pixel_format", "fits"),
    [
        *(("hevc", pixel_format, True) for pixel_format in ("yuv420p10le", "yuv422p10le", "yuv444p", "gbrp")),
        *(("hevc", pixel_format, False) for pixel_format in ("yuv444p10le", "yuv444p12le", "gbrp10le")),
        ("prores", "yuva444p10le", True),
    ],
)
def test_a_picture_that_memory_cannot_hold_is_refused(codec: str, pixel_format: str, fits: bool) -> None:
    stream = {"codec_type": "video", "codec_name": codec, "width": 3840, "height": 2160, "pix_fmt": pixel_format}
    if fits:
        assert read_probe({"streams": [stream]}).video.width == 3840
    else:
        with pytest.raises(UnusableVideo, match=f"3840×2160 pixels in {pixel_format}"):
            read_probe({"streams": [stream]})


def test_the_streams_that_are_marked_as_default_are_taken() -> None:
    streams = [
        {"index": 0, "codec_type": "video", "codec_name": "h264", "width": 64, "height": 64},
        {"index": 1, "codec_type": "audio", "codec_name": "aac", "sample_rate": "48000", "channels": 1},
        {"index": 2, "codec_type": "audio", "codec_name": "aac", "sample_rate": "48000", "channels": 2},
    ]
    assert read_probe({"streams": streams}).audio.index == 1  # type: ignore[union-attr]
    streams[2]["disposition"] = {"default": 1}
    assert read_probe({"streams": streams}).audio.index == 2  # type: ignore[union-attr]


def test_sound_that_a_transport_stream_only_announces_is_left_out() -> None:
    picture = {"index": 0, "codec_type": "video", "codec_name": "h264", "width": 64, "height": 64}
    absent = {"index": 1, "codec_type": "audio", "codec_name": "aac", "sample_rate": "0", "channels": 0}
    heard = {"index": 2, "codec_type": "audio", "codec_name": "aac", "sample_rate": "48000", "channels": 2}
    unknown = {"index": 3, "codec_type": "audio", "codec_name": "ac4", "sample_rate": "0", "channels": 0}
    stream = {"format_name": "mpegts"}
    assert read_probe({"format": stream, "streams": [picture, absent, heard]}).audio.index == 2  # type: ignore[union-attr]
    assert read_probe({"format": stream, "streams": [picture, absent]}).audio is None
    assert read_probe({"format": stream, "streams": [picture, unknown, heard]}).audio.index == 2  # type: ignore[union-attr]
    for sounds, container in (([unknown], "mpegts"), ([absent], "mov,mp4")):
        with pytest.raises(UnusableVideo):
            read_probe({"format": {"format_name": container}, "streams": [picture, *sounds]})


def test_a_description_for_the_blind_is_taken_only_where_there_is_nothing_else() -> None:
    picture = {"index": 0, "codec_type": "video", "codec_name": "h264", "width": 64, "height": 64}
    sounds = [
        {"index": 1 + number, "codec_type": "audio", "codec_name": "aac", "sample_rate": "48000", "channels": 2}
        for number in range(2)
    ]
    sounds[0]["disposition"] = {"visual_impaired": 1}
    assert read_probe({"streams": [picture, *sounds]}).audio.index == 2  # type: ignore[union-attr]
    assert read_probe({"streams": [picture, sounds[0]]}).audio.index == 1  # type: ignore[union-attr]
