"""Refuses a video whose picture or sound cannot be decoded. Neither a header nor an index shows that.

Of an MP4, samples from its whole length are decoded (`reel.samples`), of other files what is in their beginning.
Damage of a part alone is no reason to refuse a file: a clip shows the last picture there, as a player does.
"""

import asyncio
import math
import os
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Final

from reel import samples
from reel.boxes import Span
from reel.errors import NotAVideo, UnusableVideo
from reel.formats import INTRA_CODECS
from reel.media import MediaInfo
from reel.probe import Decoded, decode, pace
from reel.samples import TICKS, Place
from reel.tools import find_tools

# Timeout for a damaged file, which may keep ffprobe busy. A valid one takes less than a second.
DECODE_SECONDS: Final = 20.0
# Of a beginning: the key frames of the first seconds, or of more; if there are none, all frames. If only the sound is
# missing, which may begin later, it is searched beside the key frames: decoding all takes too long.
ATTEMPTS: Final = ((4, True), (30, True), (30, False))
# The last packet of a beginning may be cut off, and a few of the first ones may need others that are not there.
LEAST_PACKETS: Final = 8
# In damaged sound, the packets that ffmpeg finds may be few and large.
LEAST_SOUND_BYTES: Final = 16 * 1024
# AAC decodes 1 of 200 random packets, AV1 1 of 60 (measured 2026-11-28 with ffmpeg 6.0).
LEAST_SHARE: Final = 1 / 20

# What is right varies by the length of a packet.
PACES: Final = (0.8, 1.25)

Read = Callable[[int, int], Awaitable[bytes]]

_SOUND: Final = (
    "The sound of the video cannot be decoded: it is damaged, or in a form that is not supported here. Convert it to "
    "AAC or remove it, and upload the video again"
)


async def check_samples(read: Read, size: int, brand: bytes, moov: bytes, media: MediaInfo, path: Path) -> bool:
    """Whether samples of an MP4 were found and can be decoded; False if its index names none.

    `brand` is the content of its box ftyp. `path` is overwritten. Raises NotAVideo, UnusableVideo.
    """
    track = samples.track(moov, media.video.index, b"vide")
    fields = 2 if media.video.interlaced else 1
    shown = await asyncio.to_thread(samples.pictures, moov, track, fields) if track else []
    if track is None or not shown:
        return False
    parts = [(track, shown, await _contents(read, size, shown))]
    for place, content in zip(shown, parts[0][2], strict=True):
        # A copy or a download that was not finished has the right size and an index, but not all of the media.
        if not any(content):
            raise NotAVideo(
                f"The video is damaged: there are only zeros at byte {place.offset}, where a picture should be. Copy "
                "it again and upload that"
            )
    track = samples.track(moov, media.audio.index, b"soun") if media.audio else None
    heard = await asyncio.to_thread(samples.sounds, moov, track) if track else []
    if track and heard:
        parts.append((track, heard, await _contents(read, size, heard)))
    await _decode_places(brand, moov, parts, media, path)
    return True


async def _decode_places(
    brand: bytes, moov: bytes, parts: list[tuple[Span, list[Place], list[bytes]]], media: MediaInfo, path: Path
) -> None:
    codec = media.video.codec
    await asyncio.to_thread(lambda: path.write_bytes(samples.assemble(brand, moov, parts)))
    found = await decode(
        path, range(len(parts)), None, key_frames_only=False, tools=find_tools(), deadline_s=DECODE_SECONDS
    )
    _refuse_fields(codec, found[0])
    shown = parts[0][1]
    bad = _bad(shown, found[0])
    useless = 2 * sum(bad) >= len(bad) or any(one and other for one, other in pairwise(bad))
    first_key = samples.first_key(moov, parts[0][0])
    if first_key is None and (found[0].dependent or (useless and codec not in INTRA_CODECS)):
        raise UnusableVideo(
            "The index of the video calls every picture a key frame, and some depend on others or are damaged, so a "
            "cut would begin with a wrong picture. Make it anew (ffmpeg -i IN OUT.mp4) and upload that"
        )
    # With fields, there are two samples for each key frame, and the second one depends on the first.
    if first_key is not None and found[0].dependent and codec == "h264" and not media.video.interlaced:
        raise UnusableVideo(
            "The index of the video lists pictures as key frames that depend on others (intra refresh), so a cut would "
            "begin with a wrong picture. Make it anew (ffmpeg -i IN OUT.mp4) and upload that"
        )
    if first_key is not None and first_key > 1:  # ffmpeg would go on to that one
        raise UnusableVideo(
            f"The index of the video lists picture {first_key} as its first key frame, so nothing before that can be "
            "cut. Make it anew (ffmpeg -i IN OUT.mp4) and upload that"
        )
    if useless:
        raise NotAVideo(
            f"The picture of the video cannot be decoded: {sum(bad)} of {len(bad)} key frames from its whole length "
            f"are damaged or in a form that is not supported here, the first of them at byte "
            f"{shown[bad.index(True)].offset}. Copy the file again or convert it to H.264, and upload that"
        )
    if len(parts) > 1 and len(found[1].frames) < LEAST_SHARE * sum(len(place.sizes) for place in parts[1][1]):
        raise UnusableVideo(_SOUND)


def _refuse_fields(codec: str, found: Decoded) -> None:
    """Raises UnusableVideo for HEVC whose pictures are fields (field_seq_flag, ITU-T H.265, E.3.1). ffmpeg shows each
    as a picture of half the height, and sets `interlaced_frame` for nothing else in HEVC (libavcodec/hevc_refs.c)."""
    if codec == "hevc" and found.fields:
        raise UnusableVideo(
            "The picture is interlaced H.265, whose fields cannot be put together here: convert it to H.264 first"
        )


def _bad(places: list[Place], found: Decoded) -> list[bool]:
    """Of which places no frame was decoded. The time of a frame is the number of its sample."""
    times, first, bad = set(found.frames), 0, []
    for place in places:
        behind = first + len(place.sizes)
        bad.append(times.isdisjoint(number * TICKS for number in range(first, behind)))
        first = behind
    return bad


async def check_beginning(path: Path, length: int, media: MediaInfo) -> None:
    """Decodes the first `length` bytes of a file, which is cut there. Raises NotAVideo, UnusableVideo."""
    await asyncio.to_thread(os.truncate, path, min(length, path.stat().st_size))
    streams = [media.video.index, *([media.audio.index] if media.audio else [])]
    for seconds, key_frames_only in ATTEMPTS:
        shown, *heard = await decode(
            path, streams, seconds, key_frames_only=key_frames_only, tools=find_tools(), deadline_s=DECODE_SECONDS
        )
        _refuse_fields(media.video.codec, shown)
        if shown.frames and all(sound.frames and not _is_undecodable(sound) for sound in heard):
            return
        if shown.frames and seconds == ATTEMPTS[-1][0]:
            break
    if _is_undecodable(shown) and not key_frames_only:
        raise NotAVideo(
            f"The picture of the video cannot be decoded: none of its first {shown.packets} frames is valid, or all "
            "are in a form that is not supported here. Copy the file again or convert it to H.264, and upload that"
        )
    if any(_is_undecodable(sound, LEAST_SOUND_BYTES) for sound in heard):
        raise UnusableVideo(_SOUND)


async def check_fields(path: Path, media: MediaInfo) -> None:
    """Raises UnusableVideo for an AVI in H.264 whose fields are in a chunk each. It has no times, so ffmpeg counts each
    field as a picture, and decodes one picture from two of them."""
    if media.video.codec != "h264" or not media.video.interlaced:
        return
    streams = [media.video.index]
    found, *_ = await decode(path, streams, 1, key_frames_only=False, tools=find_tools(), deadline_s=DECODE_SECONDS)
    if found.fields and found.packets >= LEAST_PACKETS and len(found.frames) <= found.packets * 2 / 3:
        raise UnusableVideo(
            "The picture is interlaced H.264 of which an AVI holds each field apart, so its times cannot be told: "
            "convert it to an MP4 first"
        )


async def check_pace(path: Path, media: MediaInfo) -> None:
    """Raises UnusableVideo where the sound of an AVI has other times than it lasts. An AVI has no times: ffmpeg counts
    bytes or blocks, as the header says. Where that is wrong (as ffmpeg itself writes DTS, E-AC-3, AMR and Vorbis), the
    sound of a clip would be silent or that of another place."""
    if media.audio is None:
        return
    found = await pace(path, media.audio.index, tools=find_tools(), deadline_s=DECODE_SECONDS)
    if not PACES[0] <= found <= PACES[1]:
        raise UnusableVideo(
            f"The times of the sound are wrong: by them, it lasts {found:.2f} times as long as it is. An AVI can "
            f"hardly hold sound in {media.audio.codec}: export the video as an MP4 or MKV, and upload that"
        )


def _is_undecodable(found: Decoded, least_bytes: float = math.inf) -> bool:
    """Whether almost nothing could be decoded of what is enough to tell."""
    enough = found.packets >= LEAST_PACKETS or found.size_bytes >= least_bytes
    return enough and len(found.frames) < LEAST_SHARE * found.packets


async def _contents(read: Read, size: int, places: list[Place]) -> list[bytes]:
    """Raises NotAVideo where a place lies behind the end of the file."""
    for place in places:
        if place.offset + place.size > size:
            raise NotAVideo(
                f"The video is damaged: its index names places behind the end of the file ({size} bytes), up to byte "
                f"{place.offset + place.size}"
            )
    return list(await asyncio.gather(*(read(place.offset, place.size) for place in places)))
