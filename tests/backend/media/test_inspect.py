"""Looking at an upload by ranges: right lengths, bounded reading, and a reason for every file that cannot be used."""

from __future__ import annotations

import math
import random
import re
import struct
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import pytest
from tests.reel.matrix import OneFile
from tests.reel.test_transport import checksum

from app.games.validation import HEAD_BYTES, inspect
from reel.boxes import children
from reel.errors import NotAVideo, TruncatedVideo, UnusableVideo
from reel.media import MediaInfo
from reel.payloads import ExtractClip
from reel.render import extract_clip
from reel.tools import find_tools

MIB = 1024 * 1024
FRAGMENTED = ("-movflags", "frag_keyframe+empty_moov+default_base_moof")
CONSTANT = ("-b:v", "3M", "-minrate", "3M", "-nal-hrd", "cbr", "-bufsize", "3M")
VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "16", "-c:a", "libopus")
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


async def look(path: Path, tmp_path: Path) -> MediaInfo:
    """What is found in the whole file."""
    media = await inspect(of(path), path.stat().st_size, tmp_path / "work", at_most=math.inf)
    assert media is not None
    return media


def of(path: Path, read_bytes: list[int] | None = None) -> Callable[[int, int], Awaitable[bytes]]:
    """Reads ranges of the file, and adds to `read_bytes` how many bytes each had."""

    async def read(offset: int, length: int) -> bytes:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(length)
        if read_bytes is not None:
            read_bytes.append(len(data))
        return data

    return read


async def bytes_read_at_once(path: Path, tmp_path: Path) -> int:
    """How much finalize reads of a file that must be read whole, where it is too large for that."""
    read: list[int] = []
    media = await inspect(of(path, read), path.stat().st_size, tmp_path / "work", at_most=0)
    assert media is None, "the rest of it must be read"
    return sum(read)


async def test_a_long_fragmented_mp4_has_its_whole_length(folder: Path, tmp_path: Path) -> None:
    path = make(folder / "long.mp4", 90, "-qp", "18", *FRAGMENTED)
    media = await look(path, tmp_path)
    assert media.duration_s == pytest.approx(90, abs=0.1)
    assert media.video.fps == 25
    assert media.size_bytes == path.stat().st_size > 9 * MIB
    assert await bytes_read_at_once(path, tmp_path) < 7 * MIB


async def test_a_fragmented_mp4_that_lost_power_counts_to_its_last_whole_fragment(folder: Path, tmp_path: Path) -> None:
    whole = make(folder / "long.mp4", 90, "-qp", "18", *FRAGMENTED)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    media = await look(cut, tmp_path)
    assert 20 < media.duration_s < 70


@pytest.mark.parametrize("change", [-20_000, -1000, 20_000])
async def test_a_fragmented_mp4_that_lost_or_got_bytes_in_the_middle_is_refused(
    change: int, folder: Path, tmp_path: Path
) -> None:
    data = make(folder / "long.mp4", 90, "-qp", "18", *FRAGMENTED).read_bytes()
    at = data.index(b"mdat", len(data) // 2) + 21_000
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data[:at] + (data[at - change : at] if change > 0 else b"") + data[at + max(0, -change) :])
    with pytest.raises(UnusableVideo, match="missing or were added"):
        await look(path, tmp_path)


async def test_fragments_without_a_time_follow_each_other(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "no-tfdt.mp4"
    path.write_bytes(make(folder / "short.mp4", 6, *FRAGMENTED).read_bytes().replace(b"tfdt", b"free"))
    assert (await look(path, tmp_path)).duration_s == pytest.approx(6, abs=0.1)


@pytest.mark.parametrize("options", [FRAGMENTED, ()], ids=["fragmented", "whole"])
async def test_a_box_may_have_a_size_of_64_bits_and_lie_far_behind(options: Sequence[str], tmp_path: Path) -> None:
    data = make(tmp_path / "short.mp4", 6, *options, "-use_editlist", "0").read_bytes()
    size = int.from_bytes(data[:4], "big")
    wide = struct.pack(">I4sQ", 1, b"ftyp", size + 8) + data[8:size]
    shift = 8 + HEAD_BYTES + 1000
    rest = data[size:]
    for place in re.finditer(rb"stco.{4}(.{4})", rest, re.DOTALL):
        count, at = int.from_bytes(place[1], "big"), place.end()
        moved = [offset + shift for (offset,) in struct.iter_unpack(">I", rest[at : at + 4 * count])]
        rest = rest[:at] + struct.pack(f">{count}I", *moved) + rest[at + 4 * count :]
    path = tmp_path / "wide.mp4"
    path.write_bytes(wide + struct.pack(">I4s", shift - 8, b"free") + bytes(shift - 16) + rest)
    media = await look(path, tmp_path)
    assert media.duration_s == pytest.approx(6, abs=0.1)
    assert media.video.fps == 25


@pytest.mark.parametrize("flags", ["frag_keyframe", "frag_keyframe+empty_moov"])
async def test_fragments_count_to_the_end_of_the_picture_that_is_shown_last(flags: str, tmp_path: Path) -> None:
    fast_then_slow = ("-vf", "select='lt(n,75)+not(mod(n,10))'", "-fps_mode", "vfr", "-bf", "4", "-an")
    path = make(tmp_path / "variable.mp4", 6, *fast_then_slow, "-movflags", flags)
    assert 5.6 < (await look(path, tmp_path)).duration_s <= 6  # that begins at 5.6 s
    store = OneFile(path, tmp_path / "result.mp4")
    job = ExtractClip("a/games/g/source", "a/clip.mp4", 5.2, 5.64)
    await extract_clip(job, store, tmp_path, tools=find_tools(), deadline_s=600)
    assert (await look(store.result, tmp_path)).duration_s == pytest.approx(0.44, abs=0.1)


async def test_a_fragmented_mp4_without_a_whole_fragment_is_refused(folder: Path, tmp_path: Path) -> None:
    data = make(folder / "short.mp4", 6, *FRAGMENTED).read_bytes()
    path = tmp_path / "none.mp4"
    path.write_bytes(data[: data.index(b"mdat") + 3000])
    with pytest.raises(UnusableVideo, match="no complete fragment"):
        await look(path, tmp_path)


async def test_fragments_out_of_order_are_refused(folder: Path, tmp_path: Path) -> None:
    data = make(folder / "short.mp4", 6, *FRAGMENTED).read_bytes()
    begins = [at.start() - 4 for at in re.finditer(b"moof", data)]
    first, second, third = begins[2:5]
    path = tmp_path / "swapped.mp4"
    path.write_bytes(data[:first] + data[second:third] + data[first:second] + data[third:])
    with pytest.raises(UnusableVideo, match="begins anew"):
        await look(path, tmp_path)


async def test_an_index_that_is_repeated_between_fragments_changes_nothing(folder: Path, tmp_path: Path) -> None:
    data = make(folder / "short.mp4", 6, *FRAGMENTED).read_bytes()
    begin, end = data.index(b"moov") - 4, data.index(b"moof") - 4
    later = data.index(b"moof", end + 8) - 4
    path = tmp_path / "repeated.mp4"
    path.write_bytes(data[:later] + data[begin:end] + data[later:])
    assert (await look(path, tmp_path)).duration_s == pytest.approx(6, abs=0.1)


@pytest.mark.parametrize("kind", [b"uuid", b"free", b"emsg", b"gpsx", b"\xa9xyz"])
async def test_a_fragmented_mp4_may_have_any_boxes_between_its_fragments(
    kind: bytes, folder: Path, tmp_path: Path
) -> None:
    data = make(folder / "short.mp4", 6, *FRAGMENTED).read_bytes()
    path = tmp_path / "boxes.mp4"
    box = struct.pack(">I4s", 1008, kind) + bytes(1000)
    path.write_bytes(re.sub(b"....moof", lambda at: box + at[0], data, flags=re.DOTALL))
    assert path.stat().st_size >= len(data) + 6 * 1008
    assert (await look(path, tmp_path)).duration_s == pytest.approx(6, abs=0.1)
    store = OneFile(path, tmp_path / "clip.mp4")
    job = ExtractClip("a/games/g/source", "a/clip.mp4", 4.0, 5.0)
    (tmp_path / "cut").mkdir()
    await extract_clip(job, store, tmp_path / "cut", tools=find_tools(), deadline_s=600)
    assert (await look(store.result, tmp_path)).duration_s == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("mark", [b"\x1f\x43\xb6\x75", b"moof"])
async def test_an_end_full_of_marks_is_not_looked_at_for_ever(mark: bytes, folder: Path, tmp_path: Path) -> None:
    options = () if mark != b"moof" else ("-movflags", "frag_keyframe+empty_moov")
    path = tmp_path / "full"
    path.write_bytes(make(folder / f"hostile.{'mp4' if options else 'mkv'}", 2, *options).read_bytes() + mark * 500_000)
    try:
        media = await look(path, tmp_path)
    except UnusableVideo:
        return
    assert media.duration_s == pytest.approx(2, abs=0.1)


async def test_of_a_huge_transport_stream_finalize_reads_the_ends(folder: Path, tmp_path: Path) -> None:
    data = make(folder / "tables.ts", 20, *CONSTANT).read_bytes()
    half = len(data) // 2 // 188 * 188
    huge = tmp_path / "huge.ts"
    with huge.open("wb") as file:
        file.write(data[:half])
        file.seek(3 * 1024**3 // 188 * 188)
        file.write(data[half:])
    assert await bytes_read_at_once(huge, tmp_path) < 13 * MIB


def changed_tables(data: bytes) -> bytes:
    """The last table of the streams of a TS, with AC-3 (0x81) in the place of AAC (0x0f)."""
    at = data.rindex(b"\x47\x50\x00")
    packet = bytearray(data[at : at + 188])
    packet[packet.index(b"\x0f\xe1\x01")] = 0x81
    end = 8 + ((packet[6] & 0x0F) << 8 | packet[7])
    packet[end - 4 : end] = checksum(bytes(packet[5 : end - 4]))
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


async def test_a_table_with_another_format_anywhere_in_a_long_recording_is_found(folder: Path, tmp_path: Path) -> None:
    source = make(folder / "tables.ts", 20, *CONSTANT).read_bytes()
    size, place = 100 * MIB, 71 * MIB + 12_345
    path = with_tables(tmp_path / "a.ts", source, size, range(place, place + 1))
    with pytest.raises(UnusableVideo, match="changes the format"):
        await look(path, tmp_path)
    job = ExtractClip("a/games/g/source", "a/clip.mp4", 0.0, 1.0)
    with pytest.raises(UnusableVideo, match="changes the format"):  # of a game that an earlier release has accepted
        await extract_clip(job, OneFile(path, tmp_path / "x"), tmp_path, tools=find_tools(), deadline_s=600)


@pytest.mark.parametrize(
    ("suffix", "first", "second", "reason"),
    [
        ("ts", (), ("-c:v", "mpeg2video"), "changes the format"),
        ("ts", (), ("-c:a", "ac3"), "changes the format"),
        ("ts", ("-c:a", "libopus"), ("-c:a", "s302m", "-strict", "-2", "-ar", "48000", "-ac", "2"), "format"),
        ("ts", (), ("-mpegts_start_pid", "0x200"), "changes the format"),
        ("ts", (), ("-mpegts_start_pid", "0x200", "-mpegts_pmt_start_pid", "0x1010"), "changes the format"),
        ("ts", (), ("-output_ts_offset", "-30"), "begins anew"),
        ("flv", (), ("-c:v", "flv"), "joined byte by byte"),
        ("mp4", FRAGMENTED, (*FRAGMENTED, "-vf", "scale=640:360"), "joined byte by byte"),
        ("mp4", FRAGMENTED, FRAGMENTED, "begins anew"),
        ("mkv", (), (), "joined byte by byte"),
        ("webm", (*VP8, "-live", "1"), (*VP8, "-live", "1"), "joined byte by byte"),
        ("avi", (), (), "joined byte by byte"),
    ],
)
async def test_recordings_joined_byte_by_byte_are_refused(
    suffix: str, first: Sequence[str], second: Sequence[str], reason: str, tmp_path: Path
) -> None:
    offset = ("-output_ts_offset", "12") if suffix == "ts" else ()
    one = make(tmp_path / f"one.{suffix}", 12, *first)
    two = make(tmp_path / f"two.{suffix}", 4, *offset, *second)
    path = tmp_path / f"both.{suffix}"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    with pytest.raises(UnusableVideo, match=reason):
        await look(path, tmp_path)


async def test_what_follows_the_segment_of_a_matroska_file_does_not_count(tmp_path: Path) -> None:
    one, two = (make(tmp_path / f"{seconds}.mkv", seconds) for seconds in (12, 4))
    path = tmp_path / "behind.mkv"
    path.write_bytes(one.read_bytes() + b"rubbish" + two.read_bytes())
    assert (await look(path, tmp_path)).duration_s == pytest.approx(12, abs=0.1)


async def test_parts_of_one_recording_in_one_format_are_one_video(tmp_path: Path) -> None:
    parts = [make(tmp_path / f"{n}.ts", 4, "-output_ts_offset", str(10 + 4 * n), "-muxdelay", "0") for n in range(3)]
    path = tmp_path / "all.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert (await look(path, tmp_path)).duration_s == pytest.approx(12, abs=0.2)


async def test_an_flv_whose_picture_changes_its_codec_is_refused(tmp_path: Path) -> None:
    one, two = (make(tmp_path / f"{codec}.flv", 4, "-c:v", codec) for codec in ("libx264", "flv"))
    path = tmp_path / "both.flv"
    path.write_bytes(one.read_bytes() + two.read_bytes()[13:])
    with pytest.raises(UnusableVideo, match="changes the format"):
        await look(path, tmp_path)


async def test_an_flv_with_b_frames_lasts_until_its_last_picture_was_shown(tmp_path: Path) -> None:
    path = make(tmp_path / "ordered.flv", 4, "-bf", "3", "-an")
    assert (await look(path, tmp_path)).duration_s == pytest.approx(4.0, abs=0.01)


async def test_an_flv_counts_to_its_last_whole_picture(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.flv", 12, "-qp", "18")
    path = tmp_path / "cut.flv"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2] + b"x" * 1000)
    assert 4 < (await look(path, tmp_path)).duration_s < 8
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2] + b"x" * 3 * MIB)
    with pytest.raises(UnusableVideo, match="neither a picture nor sound begins at byte"):
        await look(path, tmp_path)


async def test_a_large_file_that_proves_what_it_is_needs_no_second_look(folder: Path, tmp_path: Path) -> None:
    for name in ("plain.mp4", "plain.mov", "plain.mkv", "plain.avi"):
        path = make(tmp_path / name, 4)
        assert await inspect(of(path), path.stat().st_size, tmp_path / "work", at_most=0) is not None, name


@pytest.mark.parametrize("count", [1_000_000, 30_000_000, 200_000_000])
async def test_an_index_that_announces_more_samples_than_the_file_holds_is_refused(
    count: int, folder: Path, tmp_path: Path
) -> None:
    bomb = tmp_path / "bomb.mp4"
    bomb.write_bytes(with_samples(make(folder / "small.mp4", 2, "-an").read_bytes(), count))
    with pytest.raises(NotAVideo, match=f"announces {count} samples"):
        await look(bomb, tmp_path)


@pytest.mark.parametrize("second", [b"hvc1", b"avc1"])
async def test_a_track_whose_samples_are_in_two_codecs_is_refused(second: bytes, folder: Path, tmp_path: Path) -> None:
    def described_twice(part: bytes) -> bytes:
        one = part[8:]
        return part[:4] + struct.pack(">I", 2) + one + one.replace(b"avc1", second, 1)

    path = tmp_path / "two.mp4"
    path.write_bytes(rebuilt(make(folder / "small.mp4", 2, "-an").read_bytes(), {"stsd": described_twice}))
    if second == b"avc1":  # a camera may change its settings within one codec
        assert (await look(path, tmp_path)).duration_s == pytest.approx(2, abs=0.1)
        return
    with pytest.raises(UnusableVideo, match="changes the format"):
        await look(path, tmp_path)


@pytest.mark.parametrize("options", [(), FRAGMENTED])
async def test_an_encrypted_video_is_refused(options: Sequence[str], tmp_path: Path) -> None:
    key = ("-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "76a6c65c5ea762046bd749a2e632ccbb")
    path = make(tmp_path / "locked.mp4", 2, *options, *key, "-encryption_kid", "a7e61c373e219033c21091fa607bf3b8")
    with pytest.raises(UnusableVideo, match="encrypted"):
        await look(path, tmp_path)


@pytest.mark.parametrize(
    ("streams", "first", "behind", "reason"),
    [
        ({0x100, 0x101}, 0, 1, "encrypted"),
        ({0x100}, 0, 1, "encrypted"),
        ({0x101}, 0, 1, "encrypted"),
        ({0x100, 0x101}, 0.4, 1, "encrypted"),
        ({0x100, 0x101}, 0.4, 0.7, "encrypted"),
        ({0x100, 0x101}, 0.4, 0.42, ""),
    ],
)
async def test_a_transport_stream_that_is_encrypted_is_refused(
    streams: set[int], first: float, behind: float, reason: str, folder: Path, tmp_path: Path
) -> None:
    data = bytearray(make(folder / "clear.ts", 12, "-pes_payload_size", "500").read_bytes())
    chance = random.Random(1)
    for at in range(int(first * len(data)) // 188 * 188, int(behind * len(data)), 188):
        if (data[at + 1] & 0x1F) << 8 | data[at + 2] in streams:
            data[at + 3] |= 0x80
            begin = at + 4 + (1 + data[at + 4] if data[at + 3] & 0x20 else 0)
            data[begin : at + 188] = chance.randbytes(at + 188 - begin)
    path = tmp_path / "pay.ts"
    path.write_bytes(data)
    if reason:
        with pytest.raises(UnusableVideo, match=reason):
            await look(path, tmp_path)
    else:
        assert (await look(path, tmp_path)).duration_s == pytest.approx(12, abs=0.1)


async def test_metadata_of_a_camera_beside_the_picture_is_no_sound(tmp_path: Path) -> None:
    data = bytearray(make(tmp_path / "sound.ts", 6, "-c:a", "pcm_s16le").read_bytes())
    path = tmp_path / "metadata.ts"
    path.write_bytes(data)
    with pytest.raises(UnusableVideo, match="sound of a kind that cannot be read"):
        await look(path, tmp_path)
    for at in range(0, len(data), 188):
        if (data[at + 1] & 0x5F) << 8 | data[at + 2] == 0x101:  # what is behind the first packet of each unit
            data[at + 1 : at + 3] = b"\x1f\xff"
    path.write_bytes(data)
    media = await look(path, tmp_path)
    assert media.unknown == (0x101,)
    assert media.duration_s == pytest.approx(6, abs=0.1)


async def test_a_recording_of_which_only_sound_is_at_its_beginning_is_refused(tmp_path: Path) -> None:
    late = ("-vf", "select='lt(t,4)',setpts=PTS+30/TB", "-max_interleave_delta", "0")
    path = make(tmp_path / "late.ts", 40, *late)
    with pytest.raises(NotAVideo, match="comes many seconds after the first sound"):
        await look(path, tmp_path)


async def test_a_receiver_that_decrypts_may_leave_the_mark(folder: Path, tmp_path: Path) -> None:
    data = bytearray(make(folder / "clear.ts", 12, "-pes_payload_size", "500").read_bytes())
    for at in range(0, len(data), 188):
        data[at + 3] |= 0xC0 * ((data[at + 1] & 0x1F) == 1)
    path = tmp_path / "marked.ts"
    path.write_bytes(data)
    assert (await look(path, tmp_path)).duration_s == pytest.approx(12, abs=0.1)


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
    with pytest.raises(NotAVideo, match=r"picture of the video is too short: it lasts 0\.040 s"):
        await look(path, tmp_path)


async def test_an_mp4_whose_media_were_never_written_is_refused(folder: Path, tmp_path: Path) -> None:
    data = make(folder / "plain.mp4", 6).read_bytes()
    path = tmp_path / "zeros.mp4"
    path.write_bytes(rebuilt(data, {"mdat": lambda body: bytes(len(body))}))
    with pytest.raises(NotAVideo, match="only zeros"):
        await look(path, tmp_path)


async def test_samples_are_read_only_where_they_are_not_in_the_head_of_the_file(folder: Path, tmp_path: Path) -> None:
    data = make(folder / "plain.mp4", 6).read_bytes()
    near, far = tmp_path / "near.mp4", tmp_path / "far.mp4"
    near.write_bytes(data)
    far.write_bytes(moved_back(data, HEAD_BYTES))
    counts = []
    for path in (near, far):
        lengths: list[int] = []
        assert await inspect(of(path, lengths), path.stat().st_size, tmp_path / "work", at_most=0) is not None
        counts.append((len(lengths), sum(lengths) - min(path.stat().st_size, HEAD_BYTES)))
    assert counts[1][0] > counts[0][0]
    assert counts[1][1] < 1 * MIB
    far.write_bytes(moved_back(rebuilt(data, {"mdat": lambda body: bytes(len(body))}), HEAD_BYTES))
    with pytest.raises(NotAVideo, match="only zeros"):
        await look(far, tmp_path)


def moved_back(data: bytes, by: int) -> bytes:
    """The same MP4 with its media so many bytes later: an empty box follows the first one."""
    changed = bytearray(data)
    for found in re.finditer(b"stco", data):
        (count,) = struct.unpack_from(">I", data, found.end() + 4)
        for place in range(found.end() + 8, found.end() + 8 + 4 * count, 4):
            (offset,) = struct.unpack_from(">I", data, place)
            struct.pack_into(">I", changed, place, offset + by)
    (first,) = struct.unpack_from(">I", data)
    return bytes(changed[:first]) + struct.pack(">I4s", by, b"free") + bytes(by - 8) + bytes(changed[first:])


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
    sizes, times = struct.pack(">III", 0, 100, count), struct.pack(">IIII", 0, 1, count, 512)
    return rebuilt(data, {"stsz": lambda _: sizes, "stts": lambda _: times})


def rebuilt(data: bytes, changes: Mapping[str, Callable[[bytes], bytes]]) -> bytes:
    """The same MP4, whose index lies behind its media, with other contents of these boxes."""
    out = b""
    for kind, start, end in children(data, 0, len(data)):
        body = data[start:end]
        if kind in ("moov", "trak", "mdia", "minf", "stbl"):
            body = rebuilt(body, changes)
        elif kind in changes:
            body = changes[kind](body)
        out += struct.pack(">I4s", len(body) + 8, kind.encode()) + body
    return out
