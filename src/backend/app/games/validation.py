"""Looks at an uploaded video without downloading it: some ranges of it, then ffprobe.

The ranges are written at their offsets into a sparse file with the object's length, so that ffprobe sees real offsets.
An MPEG-TS contains no offsets, so ffprobe gets its first and last part without a gap; it would search the zeros of a
gap for packets.

For some kinds of file these ranges show that the rest is valid too. The others (`reel.scan`) are read completely: small
ones during the request, large ones by a job, because a Machine reads about 8 MiB/s. Reading samples of a large file was
rejected, because samples miss defects between them.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, cast

from app.games.decoding import check_beginning, check_fields, check_pace, check_samples
from reel import avi, boxes, flv, fragments, index, matroska, samples, transport
from reel.ending import with_last_picture_of
from reel.errors import FfmpegFailed, FfmpegTimedOut, NotAVideo, TruncatedVideo, UnusableVideo
from reel.media import LENGTH_SLACK_S, MediaInfo, with_last_picture
from reel.packets import packet_size
from reel.payloads import MIN_SPAN_SECONDS
from reel.probe import probe
from reel.scan import COLOURS_CHANGE, ENCRYPTED, JOINED, Scan, resume, save
from reel.tools import find_tools

_MIB: Final = 1024 * 1024
# More than ffprobe reads to detect the streams (its default probesize is 5,000,000 bytes).
HEAD_BYTES: Final = 6 * _MIB
TAIL_BYTES: Final = 1 * _MIB
MAX_INDEX_BYTES: Final = 64 * _MIB
# Files up to this size are read completely during the request.
AT_ONCE_BYTES: Final = 36 * _MIB
READS_AT_ONCE: Final = 4
# Sizes of the end of the file in which the last picture is searched: the next one if the one before has none.
END_BYTES: Final = (1 * _MIB, 8 * _MIB, 64 * _MIB)
# An AVI ends with its index; a second of silence may be at the end of one without.
AVI_END_BYTES: Final = 192 * 1024
# Timeout for a damaged file, which may keep ffprobe busy. A valid file takes less than a second.
PROBE_SECONDS: Final = 20.0
MAX_SECONDS: Final = 7 * 86_400.0
PIECE_BYTES: Final = 4 * _MIB
# Smallest size of a frame: in an MPEG-TS half a packet (ffprobe may count fields), in an AVI the header of a chunk.
LEAST_FRAME_BYTES: Final = {"mpegts": 94, "avi": 8}

Read = Callable[[int, int], Awaitable[bytes]]
Report = Callable[[float, str | None], Awaitable[None]]
Compare = Callable[[transport.Recording, int], Awaitable[None]]
Seen = tuple[MediaInfo, Scan | None]
"""What the beginning and the end of a file show, and the scan for the rest if they do not prove that it is valid."""


async def silent(share: float, checkpoint: str | None) -> None:
    """A Report for callers without one."""


async def inspect(
    read: Read,
    size: int,
    folder: Path,
    *,
    at_most: float,
    report: Report = silent,
    checkpoint: str | None = None,
) -> MediaInfo | None:
    """The contents of a file of `size` bytes. None if it must be read completely but has more than `at_most` bytes.

    Raises UnusableVideo if it is not a complete video, and what `read` raises. `report` gets the fraction that was
    read, and a checkpoint where there is one: a later call that gets it goes on from there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="inspect-", dir=folder) as name:
        try:
            media, scan = await _look(read, size, Path(name) / "source")
        except (FfmpegFailed, FfmpegTimedOut) as error:
            raise UnusableVideo(f"The file cannot be examined: {error}. Export it as an MP4 and try again") from error
    if scan is not None:
        if size > at_most:
            return None
        compare = partial(_compare, read, size, folder, media)
        await _read_whole(read, size, scan, report, resume(scan, checkpoint), compare)
        media = scan.settled(media)
    if not media.duration_s:
        raise NotAVideo("The file has no duration: expected a video, not a picture or a live stream")
    if media.duration_s < MIN_SPAN_SECONDS:
        raise NotAVideo(
            f"The picture of the video is too short: it lasts {media.duration_s:.3f} s, and a clip has at least "
            f"{MIN_SPAN_SECONDS} s. Sound that goes on after the last picture cannot be cut"
        )
    _refuse_impossible(media, size)
    # If ffprobe got only both ends, it saw a file of another size.
    return replace(media, size_bytes=size)


async def _read_whole(read: Read, size: int, scan: Scan, report: Report, begin: int, compare: Compare) -> None:
    """Gives a scan the file from an offset on. Raises UnusableVideo at the first defect."""

    def look_at(parts: list[bytes]) -> None:
        for part in parts:
            scan.look(part)

    piece = PIECE_BYTES // scan.step * scan.step
    offsets = range(begin, size, piece)
    for first in range(0, len(offsets), READS_AT_ONCE):
        some = offsets[first : first + READS_AT_ONCE]
        parts = await asyncio.gather(*(read(offset, min(piece, size - offset)) for offset in some))
        await asyncio.to_thread(look_at, parts)
        if scan.fault:
            raise UnusableVideo(scan.fault)
        if isinstance(scan, transport.Recording):
            while scan.doubtful:
                await compare(scan, scan.doubtful.pop(0))
        fed = some[0] + sum(map(len, parts))
        await report(fed / size, save(scan, fed))


async def _compare(
    read: Read, size: int, folder: Path, media: MediaInfo, scan: transport.Recording, offset: int
) -> None:
    """Raises UnusableVideo where the picture of a transport stream has other colours from this offset on, because a cut
    converts all of them alike. Another size, shape, rate or field order may come: a cut goes by each frame for these.
    """
    sample = scan.sample(await read(offset, min(PIECE_BYTES, size - offset)))
    with tempfile.TemporaryDirectory(prefix="inspect-", dir=folder) as name:
        path = Path(name) / "part"
        await _lay_out(path, len(sample), sample, [])
        try:
            found = await _probe(path)
        except (FfmpegFailed, FfmpegTimedOut, NotAVideo, TruncatedVideo):
            return  # a damaged header
    if _colours(found) != _colours(media):
        raise UnusableVideo(COLOURS_CHANGE)


def _colours(media: MediaInfo) -> tuple[object, ...]:
    return media.video.transfer, media.video.matrix, media.video.full_range, media.video.wide_gamut


def _refuse_impossible(media: MediaInfo, size: int) -> None:
    """Raises NotAVideo where a file is too small for the frames that its length means: the length is made up, or there
    is a gap of hours in the middle. MP4, Matroska and FLV tell where their last frame is."""
    least = next((bytes_ for name, bytes_ in LEAST_FRAME_BYTES.items() if name in media.container), 0)
    frames = media.duration_s * float(media.video.fps or 1)
    if frames * least > size or media.duration_s > MAX_SECONDS:
        raise NotAVideo(
            f"The video is damaged: it claims to have {media.duration_s:.0f} s, {round(frames)} pictures, and has only "
            f"{size} bytes"
        )


async def _look(read: Read, size: int, path: Path) -> Seen:
    head = await read(0, min(HEAD_BYTES, size))
    if boxes.looks_like_boxes(head):
        return await _look_at_boxes(read, size, head, path)
    packet = packet_size(head)
    if packet:
        return await _look_at_transport(read, size, head, packet, path)
    tail = await read(max(0, size - TAIL_BYTES), min(TAIL_BYTES, size))
    if head.startswith(b"RIFF") and 8 + int.from_bytes(head[4:8], "little") > size - len(tail):
        _refuse_zeros(tail[-max(AVI_END_BYTES, size // 20) :], size)
    skipped = avi.skipped_rest(head, size - len(tail), size) if head.startswith(b"RIFF") else []
    await _lay_out(path, size, head, [(size - len(tail), tail), *skipped])
    media = await _probe(path)
    await check_beginning(path, len(head), media)
    if head.startswith(matroska.MAGIC):
        return await _look_at_segment(read, size, head, media)
    if head.startswith(flv.MAGIC):
        return media, flv.Tags(size)
    if head.startswith(b"RIFF"):
        await check_pace(path, media)
        await check_fields(path, media)
        if await avi.another_begins(read, size):
            raise UnusableVideo(JOINED)
    return media, None


async def _look_at_segment(read: Read, size: int, head: bytes, media: MediaInfo) -> Seen:
    end = matroska.end_of_segment(head)
    if end is not None and end < size and matroska.is_header(await read(end, min(matroska.HEADER_BYTES, size - end))):
        raise UnusableVideo(JOINED)
    first_s = matroska.first_picture(head, media.video.index)
    # ffmpeg has no time for a picture before zero. Where sound begins there too, it counts from that.
    if first_s is not None and first_s < min(0.0, media.start_s) - LENGTH_SLACK_S:
        raise UnusableVideo(
            f"The times in this file begin before zero, at {first_s:.3f} s, and cannot be cut: make it anew (ffmpeg -i "
            "IN -c copy -avoid_negative_ts make_zero OUT.mkv) and upload that"
        )
    last_byte = min(size, end or size)  # bytes after the segment do not belong to the video
    for length in END_BYTES:
        tail = await _pieces(read, max(0, last_byte - length), min(length, last_byte))
        last_s = await asyncio.to_thread(matroska.last_picture, head, tail, media.video.index)
        if last_s is not None or length >= last_byte:
            break
    if end is not None and last_s is None:
        _refuse_zeros(tail, last_byte)
    return with_last_picture(media, last_s), matroska.Segments() if end is None else None


def _refuse_zeros(tail: bytes, end: int) -> None:
    """Raises TruncatedVideo for a file whose last bytes up to `end` were never written, although it claims to have
    them: an unfinished copy or download may have the right size."""
    if not any(tail):
        raise TruncatedVideo(
            f"The video is cut off: there are only zeros from byte {end - len(tail)} to its end. Copy it again and "
            "upload that"
        )


async def _look_at_boxes(read: Read, size: int, head: bytes, path: Path) -> Seen:
    parts: list[tuple[int, bytes]] = []
    moov, behind = b"", 0
    for box in await boxes.walk(read, size):
        if box.kind == "moov":
            if box.size > MAX_INDEX_BYTES:
                raise TruncatedVideo(f"The video's index has {box.size} bytes: at most {MAX_INDEX_BYTES}")
            stored = await _pieces(read, box.offset, box.size)
            moov = index.inflated(stored, MAX_INDEX_BYTES)
            await asyncio.to_thread(index.check_sample_tables, moov, size)
            parts.append((box.offset, stored))
            behind = box.offset + box.size
        elif box.kind == "mdat" and box.offset + boxes.HEADER_BYTES > len(head):
            parts.append((box.offset, await read(box.offset, min(box.size, TAIL_BYTES))))
        elif box.kind not in ("mdat", "moof") and box.offset + boxes.HEADER_BYTES > len(head):
            # ffprobe skips any other box, and finds what follows only if the box says how long it is.
            parts.append((box.offset, boxes.empty_header(box.size)))
    fragmented = fragments.is_fragmented(moov)
    if fragmented and behind > len(head):
        parts.append((behind, await _pieces(read, behind, min(HEAD_BYTES, size - behind))))
    # ffprobe reads all fragments, so it gets only the first ones, which are enough to detect the streams.
    end = max([len(head), *(offset + len(data) for offset, data in parts)]) if fragmented else size
    await _lay_out(path, end, head, parts)
    media = await _probe(path)

    async def part(offset: int, length: int) -> bytes:
        behind = offset + length
        return head[offset:behind] if behind <= len(head) else await read(offset, length)

    brand = boxes.find(head, 0, len(head), "ftyp") or (0, 0)
    if not await check_samples(part, size, head[slice(*brand)], moov, media, path) and fragmented:
        await _lay_out(path, end, head, parts)
        await check_beginning(path, end, media)
    if fragmented:
        return media, fragments.Fragments(moov, size)
    track = samples.track(moov, media.video.index, b"vide")
    return await asyncio.to_thread(with_last_picture_of, moov, track, media) if track else media, None


async def _look_at_transport(read: Read, size: int, head: bytes, packet: int, path: Path) -> Seen:
    # Both parts begin at a packet boundary, so that the packets of the second one stay aligned.
    whole = len(head) // packet * packet
    at = max(whole, (size - HEAD_BYTES) // packet * packet)
    tail = await _pieces(read, at, size - at)
    await _lay_out(path, whole + len(tail), head[:whole], [(whole, tail)])
    try:
        media = await _probe(path)
    except NotAVideo as error:
        encryption = transport.Encryption(packet)
        encryption.look(head, range(1 << 13))
        if encryption.found:
            raise UnusableVideo(ENCRYPTED) from error
        raise
    await asyncio.to_thread(transport.check_unknown, head[:whole], packet, media)
    await check_beginning(path, whole, media)
    return media, transport.Recording(packet, head, media.video.number)


async def _probe(path: Path) -> MediaInfo:
    return await probe(path, tools=find_tools(), deadline_s=PROBE_SECONDS)


async def _pieces(read: Read, offset: int, length: int) -> bytes:
    """A long range, read in pieces: a store answers them within its deadline for a small object. Held once: a copy as
    `bytes` would double the memory of 64 MiB."""
    data = bytearray()
    while len(data) < length:
        data += await read(offset + len(data), min(PIECE_BYTES, length - len(data)))
    return cast(bytes, data)


async def _lay_out(path: Path, size: int, head: bytes, parts: list[tuple[int, bytes]]) -> None:
    def write() -> None:
        with path.open("wb") as file:
            file.truncate(size)
            for offset, data in [(0, head), *parts]:
                file.seek(offset)
                file.write(data)

    await asyncio.to_thread(write)
