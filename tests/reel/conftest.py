"""Real videos, made once per session by ffmpeg's own test sources."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from app.games import decoding, validation
from reel.tools import Tools, find_tools

MakeVideo = Callable[..., Path]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer deadlines for a look at a video, because a busy machine may exceed the product's."""
    monkeypatch.setattr(validation, "PROBE_SECONDS", 240)
    monkeypatch.setattr(decoding, "DECODE_SECONDS", 240)


@pytest.fixture(scope="session")
def tools() -> Tools:
    return find_tools()


@pytest.fixture(scope="session")
def make_video(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> MakeVideo:
    """`make_video("color=c=red", 2, size="320x180", rate=30, audio=True)`: a file in H.264, with AAC where wanted."""
    folder = tmp_path_factory.mktemp("videos")
    made: dict[str, Path] = {}

    def make(
        picture: str = "testsrc2",
        seconds: float = 2,
        *,
        size: str = "320x180",
        rate: int = 30,
        audio: bool = True,
        suffix: str = ".mp4",
    ) -> Path:
        key = f"{picture}-{seconds}-{size}-{rate}-{audio}{suffix}"
        if key not in made:
            path = folder / f"{len(made)}{suffix}"
            joint = ":" if "=" in picture else "="
            sound = ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}"] if audio else []
            subprocess.run(
                [
                    *(tools.ffmpeg, "-v", "error", "-y", "-threads", "1"),
                    *("-f", "lavfi", "-i", f"{picture}{joint}size={size}:rate={rate}:duration={seconds}"),
                    *(*sound, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-threads", "1"),
                    *(*(["-c:a", "aac"] if audio else []), str(path)),
                ],
                check=True,
            )
            made[key] = path
        return made[key]

    return make
