"""The frames that the detector compares are those of the asked time, in each kind of file."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.reel import matrix
from tests.reel.cells import MP3
from tests.reel.matrix import FRAMES, RATE, SDR, Cell, OneFile
from tests.reel.test_beginnings import begun_later

from reel.payloads import Box, DetectItem, DetectPlayers, DetectPlayersResult
from reel.tools import Tools
from video_jobs import jobs
from video_jobs.motion import HEIGHT, WIDTH

X265 = ("-c:v", "libx265", "-preset", "ultrafast", *SDR, "-x265-params", "log-level=none:pools=1:keyint=50:scenecut=0")
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "50", *SDR)
MPEG4 = ("-c:v", "mpeg4", "-q:v", "3", "-g", "50", *SDR)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The numbers of the two frames that were compared, for each sample."""
    pairs: list[tuple[int, int]] = []

    def look(first: bytes, second: bytes) -> tuple[Box, ...]:
        pairs.append((number(first), number(second)))
        return ()

    monkeypatch.setattr(jobs, "moving_boxes", look)
    return pairs


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("mp4", {"video": X264}),
        ("ts", {"video": X264}),
        ("ts", {"video": X265}),
        ("mkv", {"video": X265}),
        ("avi", {"video": MPEG4, "audio": MP3}),
        ("flv", {"video": X264}),
    ],
)
def test_the_frames_of_the_asked_time_are_compared(
    suffix: str, options: dict[str, Sequence[str]], seen: list[tuple[int, int]], tools: Tools, tmp_path: Path
) -> None:
    source = matrix.make_source(Cell("whole", suffix, **options), tmp_path, tools)  # type: ignore[arg-type]
    times_s = detected(source, tmp_path)
    assert len(seen) == len(times_s)
    for at_s, (first, second) in zip(times_s, seen, strict=True):
        assert first == pytest.approx(at_s * RATE, abs=3)
        assert second - first == pytest.approx(0.1 * RATE, abs=1)


def test_a_recording_that_begins_between_key_frames_is_not_grey(
    seen: list[tuple[int, int]], tools: Tools, tmp_path: Path
) -> None:
    detected(begun_later(matrix.make_source(Cell("whole", "ts", video=X265), tmp_path, tools), tools), tmp_path)
    assert all(50 <= first <= second < FRAMES for first, second in seen), seen


def detected(source: Path, folder: Path) -> list[float]:
    """Looks for players in the whole of a file; the times that were looked at."""
    store = OneFile(source, folder / "result")
    job = DetectPlayers((DetectItem("i", "a/games/g/source", 0.0, FRAMES / RATE),), 6)
    found: Any = asyncio.run(jobs.detect(job.to_dict(), store))
    return [frame.time_s for frame in DetectPlayersResult.from_dict(found).items[0].frames]


def number(frame: bytes) -> int:
    large = Image.frombytes("L", (WIDTH, HEIGHT), frame).resize((matrix.WIDTH, matrix.HEIGHT), Image.Resampling.NEAREST)
    return matrix._number(large.convert("RGB").tobytes())
