"""Metadata in other scripts, as R2 sends and reads them: RFC 2047's encoded words (rule 43)."""

from __future__ import annotations

import base64
from email.errors import HeaderParseError
from email.header import decode_header, make_header


def decode(value: str) -> str:
    """``value`` with its encoded words decoded; unchanged where there are none, or none that can be read."""
    if "=?" not in value:
        return value
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, UnicodeError, ValueError):
        return value


def encode(value: str) -> str:
    """``value`` for a header: ASCII as it is, anything else as one encoded word."""
    if value.isascii():
        return value
    return f"=?UTF-8?B?{base64.b64encode(value.encode('utf-8', 'replace')).decode()}?="
