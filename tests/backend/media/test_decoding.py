"""A video whose header is right and whose picture or sound cannot be decoded is refused, one that is damaged in a part
is not."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.backend.media.test_inspect import FRAGMENTED, MIB, VP8, look, make, rebuilt
from tests.reel.matrix import OneFile

from reel import ffmpeg
from reel.errors import TruncatedVideo, UnusableVideo
from reel.payloads import ExtractClip
from reel.render import extract_clip
from reel.tools import Tools, find_tools

SECONDS = 8
KINDS = {
    "mp4": (),
    "first.mp4": ("-movflags", "+faststart"),
    "hevc.mp4": ("-c:v", "libx265", "-x265-params", "log-level=none:pools=1:keyint=25"),
    "av1.mp4": ("-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime"),
    "mp3.mov": ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-c:a", "libmp3lame"),
    "prores.mov": ("-c:v", "prores_ks", "-pix_fmt", "yuv422p10le", "-c:a", "alac"),
    "mpeg4.mp4": ("-c:v", "mpeg4", "-q:v", "3", "-c:a", "ac3"),
    "fragmented.mp4": FRAGMENTED,
    "mkv": (),
    "flac.mkv": ("-c:a", "flac"),
    "webm": VP8,
    "avi": ("-bf", "0", "-c:a", "libmp3lame"),
    "flv": (),
}
# In front of a packet's bytes: the header of a block or of a tag, of the picture and of the sound.
HEADERS = {".mkv": (7, 7), ".webm": (7, 7), ".flv": (16, 13)}


def overwritten(source: Path, target: Path, stream: str, first: float, behind: float, *, zeros: bool = False) -> Path:
    """The file with other bytes in some of the packets of a stream: those between two fractions of their number."""
    data, chance = bytearray(source.read_bytes()), random.Random(1)
    packets = _chunks(data, stream) if source.suffix == ".avi" else _packets(source, stream)
    for start, length in packets[int(first * len(packets)) : int(behind * len(packets))]:
        data[start : start + length] = bytes(length) if zeros else chance.randbytes(length)
    target.write_bytes(data)
    return target


def _packets(source: Path, stream: str) -> list[tuple[int, int]]:
    asked = ["-v", "error", "-select_streams", stream, "-show_entries", "packet=pos,size", "-of", "csv=p=0"]
    listed = subprocess.run([find_tools().ffprobe, *asked, str(source)], check=True, capture_output=True, text=True)
    header = HEADERS.get(source.suffix, (0, 0))[stream == "a"]
    shorter = 7 if source.suffix in (".mkv", ".webm") else 0
    lines = [line.split(",")[:2] for line in listed.stdout.split() if "N/A" not in line]
    return [(int(at) + header, max(0, int(size) - shorter)) for size, at in lines]


def _chunks(data: bytearray, stream: str) -> list[tuple[int, int]]:
    """Of an AVI: a parser finds several packets of sound in a chunk."""
    kind, at, found = b"00dc" if stream == "v" else b"01wb", data.index(b"movi") + 4, []
    while bytes(data[at : at + 4]) in (b"00dc", b"01wb"):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == kind:
            found.append((at + 8, length))
        at += 8 + length + length % 2
    return found


async def cut(path: Path, start_s: float, end_s: float, tmp_path: Path) -> Path:
    store = OneFile(path, tmp_path / "result.mp4")
    job = ExtractClip("a/games/g/source", "a/clip.mp4", start_s, end_s)
    await extract_clip(job, store, tmp_path, tools=find_tools(), deadline_s=600)
    return store.result


@pytest.mark.parametrize("zeros", [False, True], ids=["random", "zeros"])
@pytest.mark.parametrize("stream", ["v", "a"])
@pytest.mark.parametrize("name", KINDS)
async def test_a_video_of_which_nothing_can_be_decoded_is_refused(
    name: str, stream: str, zeros: bool, tmp_path: Path
) -> None:
    whole = make(tmp_path / f"whole-{name if '.' in name else '.' + name}", SECONDS, *KINDS[name])
    assert (await look(whole, tmp_path)).duration_s == pytest.approx(SECONDS, abs=0.2)
    path = overwritten(whole, tmp_path / f"damaged{whole.suffix}", stream, 0, 1, zeros=zeros)
    if name == "webm" and stream == "a":  # to Opus, any bytes are sound
        await look(path, tmp_path)
        return
    with pytest.raises(UnusableVideo, match=r"cannot be decoded|only zeros|damaged|missing picture"):
        await look(path, tmp_path)


@pytest.mark.parametrize("zeros", [False, True], ids=["random", "zeros"])
@pytest.mark.parametrize("name", ["mp4", "first.mp4", "hevc.mp4", "prores.mov"])
async def test_an_mp4_without_the_rest_of_its_media_is_refused(name: str, zeros: bool, tmp_path: Path) -> None:
    whole = make(tmp_path / f"whole-{name if '.' in name else '.' + name}", SECONDS, *KINDS[name])
    path = overwritten(whole, tmp_path / f"damaged{whole.suffix}", "v", 0.6, 1, zeros=zeros)
    with pytest.raises(UnusableVideo, match="only zeros at byte" if zeros else "key frames"):
        await look(path, tmp_path)


@pytest.mark.parametrize(("stream", "first", "behind"), [("v", 0.4, 0.6), ("v", 0.9, 1), ("a", 0.2, 1), ("a", 0, 0.7)])
@pytest.mark.parametrize("name", ["mp4", "mkv", "flv", "avi"])
async def test_a_video_that_is_damaged_in_a_part_is_cut_everywhere(
    name: str, stream: str, first: float, behind: float, tmp_path: Path
) -> None:
    whole = make(tmp_path / f"whole.{name}", SECONDS, *KINDS[name])
    path = overwritten(whole, tmp_path / f"damaged.{name}", stream, first, behind)
    assert (await look(path, tmp_path)).duration_s == pytest.approx(SECONDS, abs=0.2)
    for start_s, end_s in ((0.0, 1.0), (3.4, 4.4), (SECONDS - 0.4, float(SECONDS))):
        folder = tmp_path / f"{start_s}"
        folder.mkdir()
        clip = await look(await cut(path, start_s, end_s, folder), tmp_path)
        assert clip.duration_s == pytest.approx(end_s - start_s, abs=0.1)


async def test_a_clip_where_no_picture_can_be_decoded_for_long_fails_with_the_reason(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.mkv", 20, "-r", "5", "-g", "5")
    path = overwritten(whole, tmp_path / "damaged.mkv", "v", 0.1, 1)
    with pytest.raises(UnusableVideo, match=r"damaged: no picture can be decoded from 16 s to 17 s"):
        await cut(path, 16, 17, tmp_path)


@pytest.mark.parametrize("options", [("-flags", "+ilme+ildct"), ("-an",), ("-g", "1000", "-sc_threshold", "0")])
async def test_the_samples_of_a_valid_mp4_are_decoded(options: Sequence[str], tmp_path: Path) -> None:
    path = make(tmp_path / "valid.mp4", SECONDS, *options)
    assert (await look(path, tmp_path)).duration_s == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.parametrize(
    "codec",
    [("libx264",), ("mpeg4",), ("libaom-av1", "-cpu-used", "8", "-usage", "realtime")],
    ids=lambda codec: codec[0],
)
async def test_an_index_that_calls_every_picture_a_key_frame_must_be_right(
    codec: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "no-list.mp4"
    for name, options in {"each": ("-g", "1"), "some": ("-g", "50")}.items():
        whole = make(tmp_path / f"{name}.mp4", SECONDS, "-pix_fmt", "yuv420p", "-c:v", *codec, *options)
        path.write_bytes(whole.read_bytes().replace(b"stss", b"free"))
        if name == "each":
            assert (await look(path, tmp_path)).duration_s == pytest.approx(SECONDS, abs=0.1)
        else:
            with pytest.raises(UnusableVideo, match="every picture a key frame"):
                await look(path, tmp_path)


@pytest.mark.parametrize("left_out", [0, 1, 2])
async def test_an_index_must_list_the_first_picture_as_a_key_frame_or_none(left_out: int, tmp_path: Path) -> None:
    def shorter(body: bytes) -> bytes:
        count = 0 if left_out == 2 else int.from_bytes(body[4:8], "big") - left_out
        return body[:4] + count.to_bytes(4, "big") + body[8 + 4 * left_out :]

    whole = make(tmp_path / "whole.mp4", SECONDS)
    path = tmp_path / "changed.mp4"
    path.write_bytes(rebuilt(whole.read_bytes(), {"stss": shorter}))
    if left_out == 1:
        with pytest.raises(UnusableVideo, match="picture 26 as its first key frame"):
            await look(path, tmp_path)
    else:
        assert (await look(path, tmp_path)).duration_s == pytest.approx(SECONDS, abs=0.1)


async def test_not_all_of_a_long_beginning_is_decoded_to_find_a_sound_that_begins_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int | None, bool]] = []

    def decoded(path: Path, seconds: int | None, *, key_frames_only: bool, tools: Tools) -> list[str]:
        asked.append((seconds, key_frames_only))
        return command(path, seconds, key_frames_only=key_frames_only, tools=tools)

    command = ffmpeg.decoded
    monkeypatch.setattr(ffmpeg, "decoded", decoded)
    path = make(tmp_path / "late.mkv", 40, "-g", "250", "-af", "adelay=35000:all=1,aselect=gt(t\\,35)")
    assert (await look(path, tmp_path)).audio is not None
    assert asked == [(4, True), (30, True)]


@pytest.mark.parametrize(("suffix", "size"), [("avi", 0), ("mkv", 80 * MIB)])
async def test_a_file_whose_end_was_never_written_is_refused(suffix: str, size: int, tmp_path: Path) -> None:
    whole = make(tmp_path / f"whole.{suffix}", SECONDS, "-b:v", "2M", "-bf", "0")
    data = bytearray(whole.read_bytes())
    at = data.index(b"\x18\x53\x80\x67") + 4 if suffix == "mkv" else 0
    if size:  # what the file says of its own size
        data[at : at + 8] = (1 << 56 | size - at - 8).to_bytes(8, "big")
    path = tmp_path / f"unfinished.{suffix}"
    path.write_bytes(data[: len(data) * 6 // 10])
    os.truncate(path, size or len(data))
    with pytest.raises(TruncatedVideo, match="only zeros from byte"):
        await look(path, tmp_path)
