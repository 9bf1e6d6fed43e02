"""Looking at an upload by ranges: right lengths, bounded reading, and a reason for every file that cannot be used."""

from __future__ import annotations

import itertools
import struct
import subprocess
from pathlib import Path

import pytest
from tests.reel.matrix import OneFile

from app.games import recordings, validation
from app.games.validation import inspect
from reel.boxes import children, find
from reel.errors import NotAVideo, TruncatedVideo, UnusableVideo
from reel.media import MediaInfo
from reel.payloads import ExtractClip
from reel.render import extract_clip
from reel.tools import find_tools

MIB = 1024 * 1024
_ENCODE = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p", "-threads", "1")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inspect")


def make(path: Path, seconds: int, *options: str, size: str = "320x180") -> Path:
    source = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25:duration={seconds}"]
    sound = ["-f", "lavfi", "-i", f"sine=duration={seconds}"]
    encode = [*_ENCODE, "-c:a", "aac", *options]
    if not path.exists():
        subprocess.run([find_tools().ffmpeg, "-v", "error", "-y", *source, *sound, *encode, str(path)], check=True)
    return path


async def look(path: Path, tmp_path: Path) -> tuple[MediaInfo, int]:
    """What was found, and how many bytes were read for it."""
    store = OneFile(path, tmp_path / "unused")
    media = await inspect(store, "key", path.stat().st_size, tmp_path / "work")  # type: ignore[arg-type]
    return media, store.bytes_read


async def test_a_long_fragmented_mp4_has_its_whole_length(folder: Path, tmp_path: Path) -> None:
    path = make(folder / "long.mp4", 90, "-qp", "18", "-movflags", "frag_keyframe+empty_moov+default_base_moof")
    media, read = await look(path, tmp_path)
    assert media.duration_s == pytest.approx(90, abs=0.1)
    assert media.size_bytes == path.stat().st_size
    assert read < 9 * 1024 * 1024


async def test_a_fragmented_mp4_that_lost_power_counts_to_its_last_whole_fragment(folder: Path, tmp_path: Path) -> None:
    whole = make(folder / "long.mp4", 90, "-qp", "18", "-movflags", "frag_keyframe+empty_moov+default_base_moof")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    media, _ = await look(cut, tmp_path)
    assert 20 < media.duration_s < 70


async def test_fragments_larger_than_what_is_read_of_the_end_are_found_from_box_to_box(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "FRAGMENT_BYTES", (1024,))
    path = make(folder / "large.mp4", 6, "-movflags", "frag_keyframe+empty_moov+default_base_moof")
    media, _ = await look(path, tmp_path)
    assert media.duration_s == pytest.approx(6, abs=0.1)
    monkeypatch.setattr(validation, "MAX_FRAGMENT_BOXES", 3)
    with pytest.raises(UnusableVideo, match="few large fragments"):
        await look(path, tmp_path)


@pytest.mark.parametrize("mark", [b"\x1f\x43\xb6\x75", b"moof"])
async def test_an_end_full_of_marks_is_not_looked_at_for_ever(mark: bytes, folder: Path, tmp_path: Path) -> None:
    options = () if mark != b"moof" else ("-movflags", "frag_keyframe+empty_moov")
    path = tmp_path / "full"
    path.write_bytes(make(folder / f"hostile.{'mp4' if options else 'mkv'}", 2, *options).read_bytes() + mark * 500_000)
    try:
        media, read = await look(path, tmp_path)
    except UnusableVideo:
        return
    assert media.duration_s == pytest.approx(2, abs=0.1)
    assert read < 16 * 1024 * 1024


async def test_a_huge_transport_stream_is_not_read_between_its_ends(folder: Path, tmp_path: Path) -> None:
    data = make(folder / "one.ts", 20, "-b:v", "3M", "-minrate", "3M", "-nal-hrd", "cbr", "-bufsize", "3M").read_bytes()
    half = len(data) // 2 // 188 * 188
    huge = tmp_path / "huge.ts"
    with huge.open("wb") as file:
        file.write(data[:half])
        file.seek(3 * 1024**3 // 188 * 188)
        file.write(data[half:])
    media, read = await look(huge, tmp_path)
    assert media.duration_s == pytest.approx(20, abs=0.1)
    assert read < 40 * MIB


def changed_tables(data: bytes) -> bytes:
    """The last table of the streams of a TS, with AC-3 (0x81) in the place of AAC (0x0f)."""
    at = data.rindex(b"\x47\x50\x00")
    packet = bytearray(data[at : at + 188])
    packet[packet.index(b"\x0f\xe1\x01")] = 0x81
    return bytes(packet)


def with_tables(path: Path, source: bytes, size: int, places: range) -> Path:
    """A TS of that size with nothing between its ends but other tables at these places."""
    half, table = len(source) // 2 // 188 * 188, changed_tables(source)
    with path.open("wb") as file:
        file.write(source[:half])
        for place in places:
            file.seek(place // 188 * 188)
            file.write(table)
        file.seek(size // 188 * 188)
        file.write(source[half:])
    return path


@pytest.mark.parametrize("size", [30 * MIB, 1024 * MIB])
async def test_a_format_that_changes_for_some_seconds_of_a_long_recording_is_refused(
    size: int, folder: Path, tmp_path: Path
) -> None:
    source = make(folder / "tables.ts", 20, "-b:v", "3M", "-minrate", "3M", "-nal-hrd", "cbr", "-bufsize", "3M")
    # Ten times a second at 8 Mbit/s: 2 MiB are 2 s, 8 MiB are 8 s.
    length = 8 * MIB if size > 100 * MIB else 2 * MIB
    path = with_tables(tmp_path / "a.ts", source.read_bytes(), size, range(size // 2, size // 2 + length, 100_000))
    with pytest.raises(UnusableVideo, match="changes the format"):
        await look(path, tmp_path)


async def test_a_format_that_changes_between_the_places_is_refused_when_a_clip_is_cut(
    folder: Path, tmp_path: Path
) -> None:
    source = make(folder / "tables.ts", 20, "-b:v", "3M", "-minrate", "3M", "-nal-hrd", "cbr", "-bufsize", "3M")
    size = 400 * MIB
    places = list(recordings.plan(6 * MIB // 188 * 188, size - 6 * MIB, 188, 60_000))
    between = (places[50][0] + places[51][0]) // 2
    path = with_tables(tmp_path / "a.ts", source.read_bytes(), size, range(between, between + 1))
    await look(path, tmp_path)
    job = ExtractClip("a/games/g/source", "a/clip.mp4", 0.0, 1.0)
    with pytest.raises(UnusableVideo, match="changes the format"):
        await extract_clip(job, OneFile(path, tmp_path / "x"), tmp_path, tools=find_tools(), deadline_s=60)


@pytest.mark.parametrize("packet", [188, 192])
@pytest.mark.parametrize("spacing", [0, 40_000, 300_000, 5_000_000])
@pytest.mark.parametrize("length", [0, 1, 20 * MIB, 25 * MIB, 1024 * MIB, 10 * 1024 * MIB])
def test_the_places_of_a_recording_are_in_order_within_it_and_cost_a_bounded_amount(
    packet: int, spacing: int, length: int
) -> None:
    start = 1000 * packet
    end = start + length * packet // packet
    places = list(recordings.plan(start, end, packet, spacing))
    assert sum(size for _, size in places) <= min(length, recordings.BUDGET_BYTES)
    assert all((offset - start) % packet == 0 and start <= offset and offset + size <= end for offset, size in places)
    assert all(one[0] + one[1] <= other[0] for one, other in itertools.pairwise(places))
    if length <= 20 * MIB:
        assert sum(size for _, size in places) == length


async def test_recordings_joined_byte_by_byte_are_refused(folder: Path, tmp_path: Path) -> None:
    data = make(folder / "one.ts", 20, "-b:v", "3M", "-minrate", "3M", "-nal-hrd", "cbr", "-bufsize", "3M").read_bytes()
    twice = tmp_path / "twice.ts"
    twice.write_bytes(data + data)
    with pytest.raises(UnusableVideo, match="clock of this recording begins anew"):
        await look(twice, tmp_path)


@pytest.mark.parametrize("count", [1_000_000, 30_000_000, 200_000_000])
async def test_an_index_that_announces_more_samples_than_the_file_holds_is_refused(
    count: int, folder: Path, tmp_path: Path
) -> None:
    bomb = tmp_path / "bomb.mp4"
    bomb.write_bytes(with_samples(make(folder / "small.mp4", 2, "-an").read_bytes(), count))
    with pytest.raises(NotAVideo, match=f"announces {count} samples"):
        await look(bomb, tmp_path)


@pytest.mark.parametrize("share", [1 / 3, 2 / 3])
async def test_a_file_that_is_cut_off_is_refused(share: float, folder: Path, tmp_path: Path) -> None:
    for name, options in (("last.mp4", ()), ("first.mp4", ("-movflags", "+faststart"))):
        data = make(folder / name, 4, *options).read_bytes()
        cut = tmp_path / name
        cut.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(TruncatedVideo):
            await look(cut, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXTINF:4.0,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile 'file:/etc/passwd'\n",
        "",
        "<svg/>",
        "\x00" * 5000,
        "G" * 5000,
    ],
)
async def test_what_is_no_video_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "fake.mp4"
    path.write_text(text)
    with pytest.raises(UnusableVideo):
        await look(path, tmp_path)


async def test_a_picture_that_no_memory_holds_is_refused(folder: Path, tmp_path: Path) -> None:
    path = make(folder / "wide.mp4", 1, size="8192x4320")
    with pytest.raises(UnusableVideo, match="8192×4320"):
        await look(path, tmp_path)


async def test_a_video_too_short_for_a_clip_is_refused(folder: Path, tmp_path: Path) -> None:
    path = make(folder / "one-frame.mp4", 1, "-frames:v", "1", "-an")
    with pytest.raises(NotAVideo, match=r"too short: it has 0\.040 s"):
        await look(path, tmp_path)


async def test_an_index_that_names_places_behind_the_end_is_refused(folder: Path, tmp_path: Path) -> None:
    data = bytearray(make(folder / "small.mp4", 2, "-an").read_bytes())
    struct.pack_into(">I", data, data.index(b"stco") + 12, 0x7FFFFFFF)
    path = tmp_path / "beyond.mp4"
    path.write_bytes(data)
    with pytest.raises(NotAVideo, match="behind the end"):
        await look(path, tmp_path)


async def test_a_length_for_which_a_file_has_too_few_bytes_is_refused(folder: Path, tmp_path: Path) -> None:
    data = bytearray(make(folder / "long.avi", 2, "-an", "-bf", "0").read_bytes())
    struct.pack_into("<I", data, data.index(b"avih") + 8 + 16, 10_000_000)
    struct.pack_into("<I", data, data.index(b"strh") + 8 + 32, 10_000_000)
    path = tmp_path / "made-up.avi"
    path.write_bytes(data)
    with pytest.raises(NotAVideo, match="claims to have 400000 s"):
        await look(path, tmp_path)


async def test_hours_between_two_parts_of_a_recording_are_no_length(folder: Path, tmp_path: Path) -> None:
    early = make(folder / "early.ts", 3, "-output_ts_offset", "10", "-muxdelay", "0")
    late = make(folder / "late.ts", 3, "-output_ts_offset", "7213", "-muxdelay", "0")
    path = tmp_path / "gap.ts"
    path.write_bytes(early.read_bytes() + late.read_bytes())
    with pytest.raises(NotAVideo, match="claims to have 72"):
        await look(path, tmp_path)


async def test_a_codec_that_the_image_lacks_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    path = make(folder / "wma.mkv", 1, "-c:a", "wmav2")
    with pytest.raises(UnusableVideo, match="sound is in wmav2"):
        await look(path, tmp_path)


def with_samples(data: bytes, count: int) -> bytes:
    """The same MP4, whose index announces `count` samples of 100 bytes."""

    def rebuilt(part: bytes) -> bytes:
        out = b""
        for kind, start, end in children(part, 0, len(part)):
            body = part[start:end]
            if kind in ("moov", "trak", "mdia", "minf", "stbl"):
                body = rebuilt(body)
            elif kind == "stsz":
                body = struct.pack(">III", 0, 100, count)
            elif kind == "stts":
                body = struct.pack(">IIII", 0, 1, count, 512)
            out += struct.pack(">I4s", len(body) + 8, kind.encode()) + body
        return out

    assert find(data, 0, len(data), "moov")
    return rebuilt(data)
