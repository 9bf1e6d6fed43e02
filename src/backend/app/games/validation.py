"""Looks at an uploaded video without downloading it: some ranges of it, then ffprobe.

The read ranges are laid at their places in a sparse file as long as the object, so that ffprobe sees real offsets. An
MPEG-TS has no offsets in it: there ffprobe gets the first and the last part back to back, because it would search the
zeros between them for packets. Three kinds of file do not tell their length where ffprobe looks for it, or tell a wrong
one: fragmented MP4, Matroska and FLV. There the last picture is looked for.
"""

import asyncio
import struct
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

from app.games import recordings
from app.storage.interface import ObjectStore
from reel import boxes, flv, fragments, matroska, transport
from reel.errors import FfmpegFailed, FfmpegTimedOut, NotAVideo, TruncatedVideo, UnusableVideo
from reel.media import MediaInfo
from reel.payloads import MIN_SPAN_SECONDS
from reel.probe import probe
from reel.tools import find_tools

_MIB: Final = 1024 * 1024
# More than ffprobe reads to learn what the streams are (its default probesize is 5,000,000 bytes).
HEAD_BYTES: Final = 6 * _MIB
TAIL_BYTES: Final = 1 * _MIB
MAX_INDEX_BYTES: Final = 64 * _MIB
# How far from the end the last fragment is looked for; each step reads that much more.
FRAGMENT_BYTES: Final = (1 * _MIB, 8 * _MIB, 64 * _MIB)
# A damaged file can keep ffprobe busy; a sound one takes less than a second.
PROBE_SECONDS: Final = 20.0
MAX_SECONDS: Final = 7 * 86_400.0
MAX_FRAGMENT_BOXES: Final = 256
PIECE_BYTES: Final = 4 * _MIB
# What a frame takes at least: a packet in an MPEG-TS (half of one, as ffprobe may count fields), the header of a chunk
# in an AVI.
LEAST_FRAME_BYTES: Final = {"mpegts": 94, "avi": 8}
# What a file tells of its length counts up to this difference: the last sound may end so much after the last picture.
LENGTH_SLACK_S: Final = 0.1

Read = Callable[[int, int], Awaitable[bytes]]


async def inspect(store: ObjectStore, key: str, size: int, folder: Path) -> MediaInfo:
    """What the object holds. Raises UnusableVideo when it is no whole video, StorageError when it cannot be read."""

    async def read(offset: int, length: int) -> bytes:
        return await store.get_range(key, offset, length)

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="inspect-", dir=folder) as name:
        try:
            media = await _look(read, size, Path(name) / "source")
        except (FfmpegFailed, FfmpegTimedOut) as error:
            raise UnusableVideo(f"The file cannot be examined: {error}. Export it as an MP4 and try again") from error
    if not media.duration_s:
        raise NotAVideo("The file has no duration: expected a video, not a picture or a live stream")
    if media.duration_s < MIN_SPAN_SECONDS:
        raise NotAVideo(
            f"The video is too short: it has {media.duration_s:.3f} s, a clip at least {MIN_SPAN_SECONDS} s"
        )
    _refuse_impossible(media, size)
    # ffprobe saw a file of another size where only its ends were laid out.
    return replace(media, size_bytes=size)


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


async def _look(read: Read, size: int, path: Path) -> MediaInfo:
    head = await read(0, min(HEAD_BYTES, size))
    if boxes.looks_like_boxes(head):
        return await _look_at_boxes(read, size, head, path)
    packet = transport.packet_size(head)
    if packet:
        return await _look_at_transport(read, size, head, packet, path)
    tail = await read(max(0, size - TAIL_BYTES), min(TAIL_BYTES, size))
    await _lay_out(path, size, head, [(size - len(tail), tail)])
    media = await _probe(path)
    if head.startswith(matroska.MAGIC):
        return _with_length(media, await _near_the_end(read, size, lambda end: matroska.last_picture(head, end)))
    if head.startswith(flv.MAGIC):
        # Every byte may begin a tag: a longer part would take seconds.
        tail = await read(max(0, size - TAIL_BYTES), min(TAIL_BYTES, size))
        return _with_length(media, await asyncio.to_thread(flv.last_picture, tail))
    return media


def _with_length(media: MediaInfo, last_s: float | None) -> MediaInfo:
    """The length by when the last frame is shown, where that differs from what the file tells of itself."""
    if last_s is None:
        return media
    frame_s = float(1 / media.video.fps) if media.video.fps else 0.0
    length_s = last_s + frame_s - max(0.0, media.start_s)
    return media if abs(media.duration_s - length_s) <= LENGTH_SLACK_S else replace(media, duration_s=length_s)


async def _look_at_boxes(read: Read, size: int, head: bytes, path: Path) -> MediaInfo:
    parts: list[tuple[int, bytes]] = []
    moov = b""
    found = await boxes.walk(read, size)
    for box in found:
        if box.kind == "moov":
            if box.size > MAX_INDEX_BYTES:
                raise TruncatedVideo(f"The video's index has {box.size} bytes: at most {MAX_INDEX_BYTES}")
            moov = await _pieces(read, box.offset, box.size)
            boxes.check_sample_tables(moov, size)
            parts.append((box.offset, moov))
        elif box.kind == "mdat" and box.offset > len(head):
            parts.append((box.offset, await read(box.offset, min(box.size, TAIL_BYTES))))
    if not fragments.is_fragmented(moov):
        await _lay_out(path, size, head, parts)
        return await _probe(path)
    # ffprobe walks fragments one by one: it gets the beginning alone, which tells what the streams are.
    end = max([len(head), *(offset + len(data) for offset, data in parts)])
    await _lay_out(path, end, head, parts)
    media = await _probe(path)
    track = fragments.picture_track(moov)
    end_s = await _near_the_end(read, size, lambda end: fragments.end_of_last_fragment(end, track))
    if end_s is None:  # fragments larger than what was read are few
        last = await _last_fragment(read, size, next((box.offset for box in found if box.kind == "moof"), size))
        end_s = fragments.end_of_last_fragment(last, track)
    if end_s is not None:
        return replace(media, duration_s=end_s - min(0.0, media.start_s))
    raise UnusableVideo(
        "The length of this fragmented MP4 cannot be determined: no complete fragment ends within its last "
        f"{FRAGMENT_BYTES[-1]} bytes, and it does not consist of a few large fragments. Export it as an ordinary MP4 "
        "(ffmpeg -i IN -c copy OUT.mp4) and try again"
    )


async def _last_fragment(read: Read, size: int, offset: int) -> bytes:
    """The description of the last fragment that is whole, found from box to box; empty where there are too many."""
    described: boxes.Box | None = None
    whole: boxes.Box | None = None
    for _ in range(MAX_FRAGMENT_BOXES):
        if offset >= size:
            break
        try:
            box = boxes.read_header(await read(offset, min(boxes.HEADER_BYTES, size - offset)), offset, size)
        except TruncatedVideo:
            break
        described = box if box.kind == "moof" else described
        whole = described if box.kind == "mdat" else whole
        offset += box.size
    else:
        return b""
    if whole is None or whole.size > MAX_INDEX_BYTES:
        return b""
    return await _pieces(read, whole.offset, whole.size) + struct.pack(">I4s", 8, b"mdat")


async def _look_at_transport(read: Read, size: int, head: bytes, packet: int, path: Path) -> MediaInfo:
    # Both parts begin at a packet, which keeps the second one in step with the first.
    whole = len(head) // packet * packet
    at = max(whole, (size - HEAD_BYTES) // packet * packet)
    tail = await _pieces(read, at, size - at)
    await _lay_out(path, whole + len(tail), head[:whole], [(whole, tail)])
    await recordings.check(read, head[:whole], tail, whole, at, packet)
    return await _probe(path)


async def _probe(path: Path) -> MediaInfo:
    return await probe(path, tools=find_tools(), deadline_s=PROBE_SECONDS)


async def _near_the_end(read: Read, size: int, find: Callable[[bytes], float | None]) -> float | None:
    """What `find` finds in the last bytes of the file, of which it gets more each time; None where there is nothing."""
    for length in FRAGMENT_BYTES:
        found = await asyncio.to_thread(find, await _pieces(read, max(0, size - length), min(length, size)))
        if found is not None or length >= size:
            return found
    return None


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
