"""Reads the tags of an FLV file (Adobe Flash Video File Format Specification 10.1, annex E.4): its formats, its clock,
and when its last picture begins.

The length in the file's header is not used, because it is still there if the file was cut off.
"""

from __future__ import annotations

from typing import Final

from reel.media import MediaInfo, with_last_picture
from reel.scan import CLOCK_BEGINS_ANEW, CLOCK_SLACK_S, FORMATS_CHANGE, JOINED

MAGIC: Final = b"FLV\x01"
_SOUND, _PICTURE, _SCRIPT = 8, 9, 18
_HEADER: Final = 11
_LENGTH_BEHIND: Final = 4
# Of a picture, before the picture itself, in the enhanced form.
_PICTURE_HEADER: Final = 8
# Bytes behind the last tag, of another kind, that players ignore.
_RUBBISH_BYTES: Final = 1024 * 1024


class Tags:
    """A `reel.scan.Scan` of an FLV file of `size` bytes."""

    step = 1
    kept = ("_offset", "_over", "_formats", "_latest_ms", "_last_picture_ms")

    def __init__(self, size: int) -> None:
        self.fault: str | None = None
        self._size = size
        self._rest = bytearray()
        self._offset = 0
        self._over = False
        self._formats: dict[int, bytes] = {}
        self._latest_ms = 0
        self._last_picture_ms: int | None = None

    def look(self, data: bytes) -> None:
        if self._over:
            return
        self._rest += data
        at = 0
        if not self._offset and self._rest.startswith(MAGIC):
            at = int.from_bytes(self._rest[5:9], "big") + _LENGTH_BEHIND
        while not self._over and at + _HEADER <= len(self._rest):
            end = at + _HEADER + int.from_bytes(self._rest[at + 1 : at + 4], "big") + _LENGTH_BEHIND
            if self._rest[at] & 0x1F not in (_SOUND, _PICTURE, _SCRIPT) or any(self._rest[at + 8 : at + _HEADER]):
                self._end(bytes(self._rest[at : at + 4]), self._offset + at)
            elif end > len(self._rest):
                break
            else:
                self._tag(bytes(self._rest[at : at + _HEADER + _PICTURE_HEADER]), end - at)
                at = end
        self._offset += at
        del self._rest[:at]

    def unread(self) -> int:
        return len(self._rest)

    def settled(self, media: MediaInfo) -> MediaInfo:
        last_ms = self._last_picture_ms
        return with_last_picture(media, None if last_ms is None else last_ms / 1000)

    def _end(self, found: bytes, offset: int) -> None:
        self._over = True
        if found == MAGIC:
            self.fault = JOINED
        elif self._size - offset > _RUBBISH_BYTES:
            self.fault = f"The video is damaged: neither a picture nor sound begins at byte {offset}"

    def _tag(self, tag: bytes, length: int) -> None:
        kind, body = tag[0] & 0x1F, tag[_HEADER:]
        if kind == _SCRIPT or length <= _HEADER + _LENGTH_BEHIND:
            return
        if self._formats.setdefault(kind, _format(kind, body)) != _format(kind, body):
            self.fault = FORMATS_CHANGE
        at_ms = int.from_bytes(tag[4:7], "big") | tag[7] << 24
        if at_ms < self._latest_ms - CLOCK_SLACK_S * 1000:
            self.fault = self.fault or CLOCK_BEGINS_ANEW
        self._latest_ms = max(self._latest_ms, at_ms)
        if kind == _PICTURE:
            self._last_picture_ms = max(self._last_picture_ms or 0, at_ms + _shown_later_ms(body))


def _format(kind: int, body: bytes) -> bytes:
    """The codec of a tag: half a byte, or four letters in the enhanced form (Enhanced RTMP, 2023)."""
    if kind == _PICTURE:
        return body[1:5] if body[0] & 0x80 else bytes([body[0] & 0x0F])
    return body[1:5] if body[0] >> 4 == 9 else bytes([body[0] >> 4])


def _shown_later_ms(body: bytes) -> int:
    """How much later than its tag's time a picture is shown: the composition time of H.264 (E.4.3.1), and of H.264 and
    HEVC in the enhanced form."""
    if body[0] & 0x80:
        has_one, at = body[0] & 0x0F == 1 and body[1:5] in (b"avc1", b"hvc1"), 5
    else:
        has_one, at = body[0] & 0x0F == 7 and body[1:2] == b"\x01", 2
    return int.from_bytes(body[at : at + 3], "big", signed=True) if has_one else 0
