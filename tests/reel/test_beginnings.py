"""A recording that begins between two key frames, as a live capture does, shows the first key frame until its time."""

from __future__ import annotations

import asyncio
import math
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from tests.reel import matrix
from tests.reel.matrix import RATE, SDR, Cell, OneFile
from tests.reel.test_gaps import decoded

from app.games.validation import inspect
from reel import ffmpeg
from reel.payloads import ExtractClip
from reel.render import extract_clip
from reel.run import read_output
from reel.seek import read_key_frames
from reel.tools import Tools

X265 = ("-c:v", "libx265", "-preset", "ultrafast", *SDR, "-x265-params")
X265_KEYS = "log-level=none:pools=1:keyint=50:min-keyint=50:scenecut=0:bframes=3"
GOP = (*SDR, "-g", "50", "-sc_threshold", "1000000000")
MP3 = ("-c:a", "libmp3lame", "-ar", "44100")


@pytest.mark.parametrize(
    ("suffix", "video", "audio"),
    [
        ("ts", ("-c:v", "libx264", "-preset", "veryfast", *GOP), ("-c:a", "aac")),
        ("ts", ("-c:v", "libx264", "-preset", "veryfast", "-x264-params", "open-gop=1", *GOP), ("-c:a", "aac")),
        ("ts", (*X265, f"{X265_KEYS}:open-gop=0"), ("-c:a", "aac")),
        ("ts", (*X265, f"{X265_KEYS}:open-gop=1"), ("-c:a", "aac")),
        ("ts", ("-c:v", "mpeg2video", "-q:v", "3", "-bf", "2", *GOP), ("-c:a", "mp2")),
        ("mkv", (*X265, f"{X265_KEYS}:open-gop=0"), ("-c:a", "aac")),
        ("avi", ("-c:v", "mpeg4", "-q:v", "3", *GOP), MP3),
        ("flv", ("-c:v", "flv1", "-q:v", "3", *GOP), MP3),
    ],
)
def test_the_first_key_frame_is_shown_until_its_time(
    suffix: str, video: Sequence[str], audio: Sequence[str], tools: Tools, tmp_path: Path
) -> None:
    source = begun_later(matrix.make_source(Cell("whole", suffix, video=video, audio=audio), tmp_path, tools), tools)
    store = OneFile(source, tmp_path / "result.mp4")
    read = partial(store.get_range, "k")
    media = asyncio.run(inspect(read, source.stat().st_size, tmp_path / "inspect", at_most=math.inf))
    assert media is not None
    listed = ffmpeg.key_frames(source, media.video.index, media.start_s, media.start_s + 6, tools=tools)
    keys_s = read_key_frames(asyncio.run(read_output(listed, deadline_s=600)))
    key_s = keys_s[0] - media.start_s - media.video.zero_s
    assert key_s > 1

    job = ExtractClip("a/games/g/source", "a/clip.mp4", 0.0, 3.0)
    asyncio.run(extract_clip(job, store, tmp_path, tools=tools, deadline_s=600))
    shown = [matrix._number(frame) for frame in decoded(store.result, tools)]
    first = shown[0]
    held = shown.count(first)
    assert 48 <= first <= 51
    assert held == pytest.approx(key_s * RATE, abs=2)
    assert shown[held:] == pytest.approx(range(first + 1, first + 1 + 75 - held), abs=1)


def begun_later(whole: Path, tools: Tools) -> Path:
    """The file without its first key frame."""
    path = whole.with_name(f"later{whole.suffix}")
    if whole.suffix == ".ts":  # nor its first tables
        data = whole.read_bytes()
        path.write_bytes(data[len(data) // 10 // 188 * 188 :])
    else:
        copy = [tools.ffmpeg, "-v", "error", "-i", str(whole), "-c", "copy", "-copyinkf"]
        subprocess.run([*copy, "-bsf:v", "noise=drop='lt(n,20)'", str(path)], check=True)
    return path
