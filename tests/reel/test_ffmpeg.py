"""Commands use only what the image's ffmpeg has, and open only what people may upload."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from reel import ffmpeg
from reel.colour import write_table
from reel.ffmpeg import Segment
from reel.formats import AUDIO_CODECS, VIDEO_CODECS
from reel.media import AudioStream, MediaInfo, VideoStream
from reel.tools import Tools

TOOLS = Tools("ffmpeg", "ffprobe")
PICTURE = VideoStream("h264", 1920, 1080, Fraction(25))
MEDIA = MediaInfo("mov", 60.0, 1000, PICTURE, AudioStream("aac", 48_000, 2))
PLAIN = Segment(Path("/w/source"), MEDIA, 1.5, 60, Fraction(30), 1280, 720, "standard")
EVERY = [
    PLAIN,
    replace(PLAIN, media=replace(MEDIA, audio=None)),
    replace(PLAIN, media=replace(MEDIA, audio=AudioStream("ac3", 48_000, 6))),
    replace(PLAIN, fade_in=True, fade_out=True, overlay=Path("/w/overlay.png")),
    replace(PLAIN, media=replace(MEDIA, audio=None), overlay=Path("/w/overlay.png")),
    replace(PLAIN, seek_s=0.5, media=replace(MEDIA, video=replace(PICTURE, interlaced=True, full_range=True))),
    replace(PLAIN, media=replace(MEDIA, container="mpegts", video=replace(PICTURE, codec="hevc"))),
    replace(PLAIN, table=Path("/w/hlg.cube"), media=replace(MEDIA, video=replace(PICTURE, transfer="hlg"))),
]


@pytest.mark.parametrize("piece", EVERY)
def test_every_filter_is_compiled_into_the_image(piece: Segment) -> None:
    dockerfile = Path(__file__).parents[2] / "Dockerfile"
    match = re.search(r"--enable-filter=(\S+)", dockerfile.read_text())
    assert match is not None
    graph = re.sub(r"\[[^]]*\]|'[^']*'", "", ffmpeg.segment_filters(piece))
    used = {part.split("=")[0] for part in re.split(r"[;,]", graph)}
    assert used <= set(match[1].split(","))


@pytest.mark.parametrize("piece", EVERY)
def test_no_input_is_generated_by_a_device_whose_codec_the_image_lacks(piece: Segment) -> None:
    assert "lavfi" not in ffmpeg.segment(piece, Path("/w/piece.mov"), tools=TOOLS)


def test_a_source_is_opened_as_a_file_and_by_the_known_demuxers_only() -> None:
    for command in (ffmpeg.probe(Path("/w/-i"), tools=TOOLS), ffmpeg.segment(PLAIN, Path("/w/o.mov"), tools=TOOLS)):
        assert command[command.index("-format_whitelist") + 1] == ffmpeg.SAFE_DEMUXERS
        assert command[command.index("-protocol_whitelist") + 1] == "file"
    assert ffmpeg.probe(Path("/w/-i"), tools=TOOLS)[-1] == "file:/w/-i"


# Codecs whose decoder has another name than the codec (`ffmpeg -decoders`).
DECODERS = {"amr_nb": "amrnb", "amr_wb": "amrwb", "dts": "dca", "flv1": "flv", "av1": "libdav1d"}


def test_every_accepted_codec_has_a_decoder_in_the_image() -> None:
    dockerfile = (Path(__file__).parents[2] / "Dockerfile").read_text()
    match = re.search(r"--enable-decoder=(\S+)", dockerfile)
    assert match is not None
    assert {DECODERS.get(codec, codec) for codec in VIDEO_CODECS | AUDIO_CODECS} <= set(match[1].split(","))


def test_the_ffmpeg_of_this_machine_decodes_every_accepted_codec(tools: Tools) -> None:
    listed = subprocess.run([tools.ffmpeg, "-v", "error", "-codecs"], check=True, capture_output=True, text=True).stdout
    decoded = {line.split()[1] for line in listed.splitlines() if re.match(r" D[.E]", line)}
    assert decoded >= VIDEO_CODECS | AUDIO_CODECS


def test_a_folder_with_odd_characters_can_hold_the_colour_table(tools: Tools, tmp_path: Path) -> None:
    folder = tmp_path / "it's: a, [b];"
    folder.mkdir()
    source = folder / "source.mp4"
    make = [tools.ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:duration=1", f"file:{source}"]
    subprocess.run(make, check=True)
    media = MediaInfo("mov", 1.0, 1, replace(PICTURE, width=320, height=180, transfer="hlg"), None)
    table = write_table("hlg", folder / "hlg.cube")
    piece = Segment(source, media, 0.0, 10, Fraction(30), 320, 180, "draft", table=table)
    subprocess.run(ffmpeg.segment(piece, folder / "out.mp4", tools=tools), check=True)
    assert (folder / "out.mp4").stat().st_size > 0
