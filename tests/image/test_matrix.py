"""A part of the media matrix in the image, with a Machine's memory: its ffmpeg cuts and refuses as another does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from tests.image.conftest import Inside
from tests.reel.cells import CELLS
from tests.reel.matrix import make_source

from reel.formats import AUDIO_CODECS, VIDEO_CODECS
from reel.tools import find_tools

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1200)]  # the first build compiles ffmpeg

# Each container, codec and filter once. MATRIX=all judges every kind, which takes ten minutes on a busy machine.
FEW = (
    *("mp4", "mp4-fragmented", "mov-pcm-be", "mkv-late-clock", "webm-without-duration", "ts-late-clock", "ts-mpeg2"),
    *("m2ts-ac3", "avi-mpeg4-mp3", "avi-mjpeg-pcm", "flv", "flv-h263", "3gp-amr", "hevc10", "av1", "prores", "dnxhd"),
    *("hlg", "anamorphic", "rotated-90", "fields-top", "dv-ntsc", "edit-list", "still-screen", "slow-motion-240"),
    *("changes-to-stereo", "changes-to-surround", "changes-rate-and-back", "changes-ac3-mkv", "changes-codec"),
    *("avi-h264-b-frames", "adpcm", "adpcm-mov", "aac-surround", "pcm-eight-channels"),
    *("dts", "alac-mono", "opus-mono-mp4", "sound-longer-mp4", "cut-mkv", "no-sound", "vertical-4k", "aac-latm"),
    *("flac-mp4", "flac-24", "flac-32", "picture-very-late-mkv"),
    *("dv-type-1", "dts-ts", "pcm-s8", "pcm-ten-channels-mov", "fields-avi-mpeg4", "fields-narrow-and-rotated"),
)
NAMES = tuple(cell.name for cell in CELLS) if os.environ.get("MATRIX") == "all" else FEW
JUDGE = """
mkdir /tmp/matrix && tar x -C /tmp/matrix && cd /tmp/matrix && python -m tests.reel.judged sources
"""


@pytest.mark.timeout(3600 if NAMES != FEW else 1200)
def test_each_kind_is_cut_right_or_refused_with_512_mb(image: str, tmp_path: Path) -> None:
    tools, tests = find_tools(), Path(__file__).parents[1]
    packed = tmp_path / "packed.tar"
    with tarfile.open(packed, "w") as archive:
        for module in ("matrix", "cells", "judged", "written"):
            archive.add(tests / "reel" / f"{module}.py", f"tests/reel/{module}.py")
        for cell in CELLS:
            if cell.name in NAMES:
                source = make_source(cell, tmp_path, tools)
                archive.add(source, f"sources/{source.name}")
                source.unlink()
    command = ["docker", "run", "--rm", "-i", "--network", "none", "--memory", "512m", "--memory-swap", "512m"]
    command += [
        "--env",
        "PYTHONPATH=/tmp/matrix:/app",
        "--env",
        "PYTHONDONTWRITEBYTECODE=1",
        image,
        "sh",
        "-euc",
        JUDGE,
    ]
    with packed.open("rb") as file:
        judged = subprocess.run(command, stdin=file, capture_output=True, check=False)
    assert judged.returncode == 0, judged.stderr.decode()
    found = {line["name"]: line["found"] for line in map(json.loads, judged.stdout.splitlines())}
    assert set(found) == set(NAMES)
    refused = {cell.name: cell.refused for cell in CELLS if cell.refused}
    wrong = {
        name: said
        for name, said in found.items()
        if not (said.startswith("refused: ") and refused[name] in said if name in refused else said == "right")
    }
    asked_to_refuse = len(refused.keys() & found.keys())
    sys.stdout.write(
        f"{len(found)} kinds: {len(found) - asked_to_refuse} to cut, {asked_to_refuse} to refuse, {len(wrong)} wrong\n"
    )
    assert wrong == {}, f"{len(found)} kinds, {len(wrong)} wrong"


def test_its_ffmpeg_decodes_every_accepted_codec(inside: Inside) -> None:
    listed = inside("ffmpeg", "-hide_banner", "-codecs").splitlines()
    decoded = {line.split()[1] for line in listed if line[1:2] == "D"}
    assert decoded >= VIDEO_CODECS | AUDIO_CODECS


# Names of configure that ffmpeg lists otherwise.
LISTED = {"image_jpeg_pipe": "jpeg_pipe", "image_png_pipe": "png_pipe", "pcm_s16le": "s16le"}


@pytest.mark.parametrize("kind", ["demuxer", "muxer", "decoder", "encoder", "filter", "bsf", "protocol"])
def test_its_ffmpeg_has_every_component_that_the_dockerfile_names(inside: Inside, kind: str) -> None:
    """configure says nothing of a name that it does not know, where others beside it are known."""
    match = re.search(rf"--enable-{kind}=(\S+)", (Path(__file__).parents[2] / "Dockerfile").read_text())
    assert match is not None
    names = set(match[1].split(","))
    words = inside("ffmpeg", "-hide_banner", f"-{kind}s").replace(",", " ").split()
    assert {name for name in names if name not in words and LISTED.get(name) not in words} == set()
