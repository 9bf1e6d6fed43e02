"""Finds when the last picture of an MP4 or MOV is over. Box names are those of ISO/IEC 14496-12, 8.

The header of a track (mdhd) and the edit list that ffmpeg writes count to the end of decoding. With B-frames and a
variable frame rate, the last picture may be shown seconds later.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Final

from reel.boxes import Span, find, is_wide, u32
from reel.media import MediaInfo, with_last_picture

# Of the last samples that are decoded, one is shown last. A decoder holds back at most 16 (ITU-T H.264, A.3.1).
_LAST: Final = 64


def with_last_picture_of(moov: bytes, track: Span, media: MediaInfo) -> MediaInfo:
    """The length by when the last picture of the track begins, where that is later than the file says."""
    last_s = _last_s(moov, track, media)
    longer = with_last_picture(media, last_s)
    return longer if longer.duration_s > media.duration_s else media


def _last_s(moov: bytes, track: Span, media: MediaInfo) -> float | None:
    """When the last picture begins, by the clock of the file; None where the edit list leaves out the end, or there are
    several edits, or the index does not tell."""
    inside = find(moov, *track, "mdia")
    tables = inside
    for inner in ("minf", "stbl"):
        tables = tables and find(moov, *tables, inner)
    head, movie = inside and find(moov, *inside, "mdhd"), find(moov, 8, len(moov), "mvhd")
    if tables is None or head is None or movie is None:
        return None
    scale, movie_scale = (u32(moov, place[0] + (20 if is_wide(moov, place) else 12)) for place in (head, movie))
    lasts, count, decoded = _last(moov, find(moov, *tables, "stts"), ">II")
    waits, _, _ = _last(moov, find(moov, *tables, "ctts"), ">Ii")
    if not scale or not movie_scale or len(lasts) != len(waits):  # without B-frames there are no waits
        return None
    edits = _edits(moov, track)
    if len(edits) > 1:
        return None
    shift_s, end = 0.0, float("inf")
    if edits:
        shift_s = media.start_s + media.video.begins_s - edits[0][1] / scale
        end = edits[0][1] + edits[0][0] * scale / movie_scale
        if end < decoded - scale / movie_scale - 1:  # as exact as the edit's length
            return None
    keys = _keys(moov, tables, count - len(lasts))
    at, last = decoded - sum(lasts), 0
    for number, (length, wait) in enumerate(zip(lasts, waits, strict=True), count - len(lasts) + 1):
        last = max(last, at + wait)
        # ffmpeg reads no further than to the first key frame behind an edit (libavformat/mov.c, mov_fix_index).
        if number in keys and at + wait + length >= end:
            break
        at += length
    return last / scale + shift_s


def _last(moov: bytes, place: Span | None, code: str) -> tuple[list[int], int, int]:
    """The values of the last samples in a table of runs (stts, ctts), the number of samples, and the sum of all
    values."""
    if place is None:
        return [], 0, 0
    runs = max(0, min(u32(moov, place[0] + 4), (place[1] - place[0] - 8) // 8))
    values: deque[int] = deque(maxlen=_LAST)
    count = total = 0
    for samples, value in struct.iter_unpack(code, memoryview(moov)[place[0] + 8 : place[0] + 8 + 8 * runs]):
        values.extend([value] * min(samples, _LAST))
        count += samples
        total += samples * value
    return list(values), count, total


def _edits(moov: bytes, track: Span) -> list[tuple[int, int]]:
    """The length of each edit (elst), in ticks of the file, and where in the track it begins; without pauses."""
    edits = find(moov, *track, "edts")
    edits = edits and find(moov, *edits, "elst")
    if edits is None:
        return []
    code = ">QqI" if is_wide(moov, edits) else ">IiI"
    size = struct.calcsize(code)
    count = max(0, min(u32(moov, edits[0] + 4), (edits[1] - edits[0] - 8) // size))
    table = memoryview(moov)[edits[0] + 8 : edits[0] + 8 + size * count]
    return [(length, begins) for length, begins, _ in struct.iter_unpack(code, table) if begins >= 0]


def _keys(moov: bytes, tables: Span, behind: int) -> set[int]:
    """The numbers of the last key frames (stss), of those behind a sample."""
    place = find(moov, *tables, "stss")
    if place is None:
        return set()
    count = max(0, min(u32(moov, place[0] + 4), (place[1] - place[0] - 8) // 4))
    first = max(0, count - _LAST)
    table = memoryview(moov)[place[0] + 8 + 4 * first : place[0] + 8 + 4 * count]
    return {number for (number,) in struct.iter_unpack(">I", table) if number > behind}
