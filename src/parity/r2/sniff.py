"""The Content-Type of a body that was put without one (rule 42).

R2's release notes (2022-08-06) say that PutObject infers it from the body; which types it knows is not documented.
These are the signatures of the WHATWG's MIME sniffing standard that a server can tell without guessing at text.
"""

from __future__ import annotations

# How many bytes of a body are examined.
LENGTH = 512
UNTYPED = "application/octet-stream"

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"BM", "image/bmp"),
    (8, b"WEBPVP", "image/webp"),
    (8, b"AVI ", "video/avi"),
    (8, b"WAVE", "audio/wave"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"%!PS-Adobe-", "application/postscript"),
    (0, b"OggS\x00", "application/ogg"),
    (0, b"MThd\x00\x00\x00\x06", "audio/midi"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"\x1f\x8b\x08", "application/x-gzip"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"Rar!\x1a\x07", "application/x-rar-compressed"),
    (0, b"\x00asm", "application/wasm"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
)
_RIFF = ("image/webp", "video/avi", "audio/wave")


def content_type(start: bytes) -> str:
    """The type of a body that begins with ``start``, at best its first ``LENGTH`` bytes."""
    if start[4:8] == b"ftyp":
        return "video/quicktime" if start[8:12] == b"qt  " else "video/mp4"
    for offset, signature, name in _SIGNATURES:
        if start[offset : offset + len(signature)] == signature and (name not in _RIFF or start[:4] == b"RIFF"):
            return name
    return UNTYPED
