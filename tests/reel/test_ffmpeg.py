"""Commands use only what the image's ffmpeg has, and open only what people may upload."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from reel import ffmpeg
from reel.ffmpeg import Segment
from reel.tools import Tools

TOOLS = Tools("ffmpeg", "ffprobe")
PLAIN = Segment(Path("/w/source"), 1.5, 60, Fraction(30), 1280, 720, "standard", True)
EVERY = [
    PLAIN,
    replace(PLAIN, has_audio=False),
    replace(PLAIN, fade=True, overlay=Path("/w/overlay.png")),
    replace(PLAIN, has_audio=False, overlay=Path("/w/overlay.png")),
]


@pytest.mark.parametrize("piece", EVERY)
def test_every_filter_is_compiled_into_the_image(piece: Segment) -> None:
    dockerfile = Path(__file__).parents[2] / "Dockerfile"
    match = re.search(r"--enable-filter=(\S+)", dockerfile.read_text())
    assert match is not None
    used = {part.split("=")[0] for part in re.split(r"[;,]", re.sub(r"\[[^]]*\]", "", ffmpeg.segment_filters(piece)))}
    assert used <= set(match[1].split(","))


@pytest.mark.parametrize("piece", EVERY)
def test_no_input_is_generated_by_a_device_whose_codec_the_image_lacks(piece: Segment) -> None:
    assert "lavfi" not in ffmpeg.segment(piece, Path("/w/piece.mov"), tools=TOOLS)


def test_a_source_is_opened_as_a_file_and_by_the_known_demuxers_only() -> None:
    for command in (ffmpeg.probe(Path("/w/-i"), tools=TOOLS), ffmpeg.segment(PLAIN, Path("/w/o.mov"), tools=TOOLS)):
        assert command[command.index("-format_whitelist") + 1] == ffmpeg.SAFE_DEMUXERS
        assert command[command.index("-protocol_whitelist") + 1] == "file"
    assert ffmpeg.probe(Path("/w/-i"), tools=TOOLS)[-1] == "file:/w/-i"
