"""Checks the index (moov) of an MP4 or MOV before ffmpeg reads it. Box names are those of ISO/IEC 14496-12, 8."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import dropwhile
from typing import Final

from reel.boxes import Span, children, find, is_wide, u32
from reel.errors import NotAVideo, UnusableVideo
from reel.media import LENGTH_SLACK_S
from reel.scan import FORMATS_CHANGE

# Samples of a track with pictures: 18 hours at 60 frames a second. ffmpeg keeps 24 bytes for each.
MAX_PICTURES: Final = 4_000_000
# What stands in the place of the codec where samples are encrypted (ISO/IEC 14496-12, 8.12).
ENCRYPTED: Final = frozenset({"encv", "enca"})


def inflated(moov: bytes, at_most: int) -> bytes:
    """The index itself where it is compressed (cmov, QuickTime File Format), and any other as it is. Raises NotAVideo
    for one that is damaged or has more than `at_most` bytes."""
    place = find(moov, 8, len(moov), "cmov")
    data = place and find(moov, *place, "cmvd")
    if data is None:
        return moov
    try:
        found = zlib.decompressobj().decompress(moov[data[0] + 4 : data[1]], at_most + 1)
    except zlib.error as error:
        raise NotAVideo(f"The video is damaged: its compressed index cannot be read ({error})") from error
    if len(found) > at_most:
        raise NotAVideo(f"The video's index has more than {at_most} bytes, which is too much")
    return found


def check_sample_tables(moov: bytes, file_size: int) -> None:
    """Refuses an index with more samples than the file can contain, or with samples after its end (NotAVideo), and a
    track whose samples are encrypted or in several codecs (UnusableVideo).

    This protects memory: a few bytes can declare millions of samples, and ffmpeg allocates memory for each. Of several
    codecs ffmpeg takes the first, and leaves out the samples in the others.
    """
    for kind, start, end in children(moov, 8, len(moov)):
        tables: Span | None = (start, end)
        for inner in ("mdia", "minf", "stbl") if kind == "trak" else ():
            tables = tables and find(moov, *tables, inner)
        if kind != "trak" or tables is None:
            continue
        media = find(moov, start, end, "mdia")
        handler = media and find(moov, *media, "hdlr")
        role = moov[handler[0] + 8 : handler[0] + 12] if handler else b""
        described = find(moov, *tables, "stsd")
        codecs = {codec for codec, _, _ in children(moov, described[0] + 8, described[1])} if described else set()
        if codecs & ENCRYPTED:
            raise UnusableVideo("The video is encrypted (DRM) and cannot be decoded here: upload a copy that is not")
        if role in (b"vide", b"soun") and len(codecs) > 1:
            raise UnusableVideo(FORMATS_CHANGE)
        if max(_chunks(moov, tables), default=0) >= file_size:
            raise NotAVideo("The video is damaged: its index names places behind the end of the file")
        if place := find(moov, *tables, "stsz"):
            _check_count(moov, place, file_size, MAX_PICTURES if role == b"vide" else 4 * file_size)
        if media and role in (b"vide", b"soun"):
            _check_edits(moov, (start, end), _check_length(moov, media, tables) if role == b"vide" else 0)


def _check_count(moov: bytes, place: Span, file_size: int, at_most: int) -> None:
    size, count = u32(moov, place[0] + 4), u32(moov, place[0] + 8)
    # QuickTime counts samples of compressed sound as if each had a byte, and ADPCM has 2 to 4 of them in one.
    room = 4 * file_size if size == 1 else file_size
    too_many = count * size > room if size else count * 4 > place[1] - place[0]
    if too_many or count > at_most:
        raise NotAVideo(f"The video is damaged: its index announces {count} samples, more than the file can hold")


def _check_length(moov: bytes, media: Span, tables: Span) -> int:
    """Where the last sample ends, in ticks (stts).

    Raises NotAVideo where a track's header (mdhd) has a length at which its last sample has not begun: nothing behind
    that can be cut. Zero and all ones mean "not known". The header counts from the first picture that is shown, but
    stts counts from when its decoding begins.
    """
    head, times = find(moov, *media, "mdhd"), find(moov, *tables, "stts")
    if head is None or times is None:
        return 0
    wide = is_wide(moov, head)
    timescale = u32(moov, head[0] + (20 if wide else 12))
    length = int.from_bytes(moov[head[0] + (24 if wide else 16) : head[0] + (32 if wide else 20)], "big")
    count = max(0, min(u32(moov, times[0] + 4), (times[1] - times[0] - 8) // 8))
    end = last = 0
    for samples, last in struct.iter_unpack(">II", memoryview(moov)[times[0] + 8 : times[0] + 8 + 8 * count]):
        end += samples * last
    begins = end - last - _delay(moov, tables)
    if timescale and 0 < length < begins - LENGTH_SLACK_S * timescale:
        raise NotAVideo(
            f"The video is damaged: its index says that the picture lasts {length / timescale:.3f} s and has a frame "
            f"at {begins / timescale:.3f} s. Make it anew (ffmpeg -i IN -c copy OUT.mp4) and upload that"
        )
    return end


def _delay(moov: bytes, tables: Span) -> int:
    """How long before the first picture is shown its decoding begins, in ticks (ctts): as long as the first one waits,
    or as another one is shown before its decoding (QuickTime and version 1). With B-frames and a variable frame rate
    that may be a second."""
    place = find(moov, *tables, "ctts")
    count = max(0, min(u32(moov, place[0] + 4), (place[1] - place[0] - 8) // 8)) if place else 0
    if place is None or not count:
        return 0
    entries = struct.iter_unpack(">Ii", memoryview(moov)[place[0] + 8 : place[0] + 8 + 8 * count])
    waits: Iterator[int] = (wait for _, wait in entries)
    return max(0, next(waits), -min(waits, default=0))


def _check_edits(moov: bytes, track: Span, samples_end: int) -> None:
    """Raises UnusableVideo where a track has edits (elst) and none of them shows anything of the samples, which end
    `samples_end` ticks after their beginning, or where they have a pause behind the first one. ffmpeg knows pauses only
    before that (libavformat/mov.c, mov_fix_index): a later one would repeat the beginning of the track. A fragmented
    file (mvex) has most samples elsewhere."""
    edits = find(moov, *track, "edts")
    edits = edits and find(moov, *edits, "elst")
    if edits is None or find(moov, 8, len(moov), "mvex"):
        return
    code = ">QqI" if is_wide(moov, edits) else ">IiI"
    size = struct.calcsize(code)
    count = max(0, min(u32(moov, edits[0] + 4), (edits[1] - edits[0] - 8) // size))
    table = memoryview(moov)[edits[0] + 8 : edits[0] + 8 + size * count]
    shown = (length and 0 <= begins < samples_end for length, begins, _ in struct.iter_unpack(code, table))
    if count and samples_end and not any(shown):
        raise UnusableVideo(
            "The video is damaged: its edit list shows nothing of the picture. Make it anew without the list (ffmpeg "
            "-ignore_editlist 1 -i IN -c copy OUT.mp4) and upload that"
        )
    behind_the_first = dropwhile(lambda entry: entry[1] < 0, struct.iter_unpack(code, table))
    if any(length and begins < 0 for length, begins, _ in behind_the_first):
        raise UnusableVideo(
            "The edit list of the video has a pause in the middle, which cannot be cut right: export the video with a "
            "video editor, and upload that"
        )


def _chunks(moov: bytes, tables: Span) -> Iterator[int]:
    """The offsets in the file at which chunks of samples begin (stco, co64)."""
    for kind, code, width in (("stco", ">I", 4), ("co64", ">Q", 8)):
        place = find(moov, *tables, kind)
        if place is not None:
            count = min(u32(moov, place[0] + 4), (place[1] - place[0] - 8) // width)
            offsets = memoryview(moov)[place[0] + 8 : place[0] + 8 + max(0, count) * width]
            yield from (offset for (offset,) in struct.iter_unpack(code, offsets))
