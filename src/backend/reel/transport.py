"""Checks an MPEG transport stream (ISO/IEC 13818-1): its clock must not restart, its streams must keep their format,
and its picture must keep its colours.

If a recorder was paused, or parts were concatenated byte by byte, the clock restarts in the middle of the file. Then
its length and times are wrong. ffprobe does not detect it, because it only compares the first and the last timestamp. A
receiver may also record a change of the codec, but ffmpeg keeps the decoder of the first one. A change from SDR to HDR
shows in neither: the programme tables stay the same. So the places where a stream gets another sequence header are
listed, and ffprobe says what changed there.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from typing import Final

from reel.errors import UnusableVideo
from reel.media import LENGTH_SLACK_S, MediaInfo
from reel.packets import beginnings, payload_of, stream_of
from reel.programs import Formats, tables
from reel.scan import CLOCK_BEGINS_ANEW, CLOCK_SLACK_S, ENCRYPTED, FORMATS_CHANGE
from reel.sequences import Headers

_TICKS: Final = 90_000
_WRAP: Final = 1 << 33
_TOLERANCE: Final = int(CLOCK_SLACK_S * _TICKS)
_SCRAMBLED: Final = 0xC0
_START: Final = b"\x00\x00\x01"
# Bits per second, of which sound has more: that in PCM has 128,000 and more. Metadata of drones and cameras have less.
_RATE_OF_SOUND: Final = 100_000
# How many pictures and sounds may begin encrypted: a receiver may get a key a moment too late.
_MOST_ENCRYPTED: Final = 10


class Recording:
    """A `reel.scan.Scan` of an MPEG-TS that begins with `head`: checks its clock and its formats, and that the program
    of the stream `picture` is not encrypted.

    `doubtful` lists the offsets at which the picture may have other colours: ffprobe tells them, given the `sample` of
    the part of the file that begins there."""

    kept = ("_clock", "_formats", "_headers", "_encryption")

    def __init__(self, packet: int, head: bytes, picture: int = 0) -> None:
        self.step = packet
        self._picture, self._encryption = picture, Encryption(packet)
        self.fault: str | None = None
        self._clock, self._formats, self._headers = Clock(packet), Formats(packet), Headers(packet)
        self.doubtful: list[int] = self._headers.doubtful
        self._tables = tables(head, packet)

    def look(self, data: bytes) -> None:
        self._clock.look(data)
        self._formats.look(data)
        self._headers.look(data, self._formats.pictures())
        self._encryption.look(data, self._formats.beside(self._picture))
        faults = {
            CLOCK_BEGINS_ANEW: self._clock.went_back,
            FORMATS_CHANGE: self._formats.changed,
            ENCRYPTED: self._encryption.found,
        }
        self.fault = next((fault for fault, found in faults.items() if found), self.fault)

    def sample(self, part: bytes) -> bytes:
        """A transport stream of the picture with which a part of the file begins, until another one follows."""
        headers = Headers(self.step)
        headers.look(part, self._formats.pictures())
        end = headers.doubtful[1] if headers.doubtful else len(part)
        return self._tables + part[:end]

    def unread(self) -> int:
        return 0

    def settled(self, media: MediaInfo) -> MediaInfo:
        """ffprobe goes by the timestamps at the end, of which one may be wrong."""
        last = self._clock.latest(media.video.number)
        if last is None:
            return media
        length_s = (last - round(media.start_s * _TICKS)) % _WRAP / _TICKS - media.video.zero_s
        length_s += float(1 / media.video.fps) if media.video.fps else 0.0
        return media if abs(media.duration_s - length_s) <= LENGTH_SLACK_S else replace(media, duration_s=length_s)


class Clock:
    """Checks the clock. Gets the parts of a file in order; each part begins at a packet."""

    kept = ("_latest", "_doubtful")

    def __init__(self, packet: int) -> None:
        self._packet = packet
        self._latest: dict[int, int] = {}
        self._doubtful: dict[int, int] = {}
        self.went_back = False

    def look(self, data: bytes) -> None:
        """Compare each timestamp with the latest earlier one of the same stream. One that is far away counts only if
        the next one goes on from it: a recording with errors of reception has single wrong ones."""
        for start in beginnings(data, self._packet):
            ticks = _presentation_ticks(data[start : start + 188])
            if ticks is None:
                continue
            stream = stream_of(data, start)
            ahead = _ahead(ticks, self._latest.setdefault(stream, ticks))
            doubtful = self._doubtful.pop(stream, None)
            if abs(ahead) > _TOLERANCE and (doubtful is None or _ahead(ticks, doubtful) < -_TOLERANCE):
                self._doubtful[stream] = ticks
            elif ahead < -_TOLERANCE:
                self.went_back = True
            elif ahead > 0:
                self._latest[stream] = ticks

    def latest(self, stream: int) -> int | None:
        """The latest timestamp of a stream, of 90 kHz."""
        return self._latest.get(stream)


class Encryption:
    """Counts the pictures and sounds that begin encrypted (transport_scrambling_control, 2.4.3.3). Gets the parts of a
    file in order. A receiver that decrypts may leave the mark, so what begins must be unreadable too."""

    kept = ("_count",)

    def __init__(self, packet: int) -> None:
        self._packet = packet
        self._count = 0

    def look(self, data: bytes, streams: Container[int]) -> None:
        for start in beginnings(data, self._packet):
            if data[start + 3] & _SCRAMBLED and stream_of(data, start) in streams:
                self._count += payload_of(data, start)[:3] != _START

    @property
    def found(self) -> bool:
        return self._count > _MOST_ENCRYPTED


def check_unknown(head: bytes, packet: int, media: MediaInfo) -> None:
    """Raises UnusableVideo where a recording without sound has a stream of unknown contents (private data, stream_type
    0x06, without a descriptor) with as much data as sound has. ffmpeg writes PCM, ALAC and FLAC so, and no program can
    tell what it is. `head` is the beginning of the file."""
    if media.audio is not None or not media.unknown:
        return
    clock = Clock(packet)
    clock.look(head)
    seconds = ((clock.latest(media.video.number) or 0) - round(media.start_s * _TICKS)) % _WRAP / _TICKS
    offset = 4 if packet == 192 else 0
    sizes = dict.fromkeys(media.unknown, 0)
    for start in range(offset, len(head) - 187, packet):
        if (stream := stream_of(head, start)) in sizes:
            sizes[stream] += len(payload_of(head, start))
    if max(sizes.values()) * 8 > _RATE_OF_SOUND * seconds:
        raise UnusableVideo(
            "The recording has sound of a kind that cannot be read: its stream does not say what it holds, as with PCM "
            "in a transport stream. Export it with sound in AAC, or without sound, and upload that"
        )


def _ahead(ticks: int, other: int) -> int:
    """How far a timestamp is ahead of another one, on a clock that wraps around."""
    return (ticks - other + _WRAP // 2) % _WRAP - _WRAP // 2


def _presentation_ticks(packet: bytes) -> int | None:
    """The PTS of the picture or audio frame that begins in this packet (2.4.3.7); None if none begins."""
    if not packet[1] & 0x40 or not packet[3] & 0x10:
        return None
    at = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
    header = packet[at : at + 14]
    if len(header) < 14 or header[:3] != _START or not 0xC0 <= header[3] <= 0xEF or not header[7] & 0x80:
        return None
    first, second, third = header[9], header[10:12], header[12:14]
    return (first >> 1 & 7) << 30 | int.from_bytes(second, "big") >> 1 << 15 | int.from_bytes(third, "big") >> 1
