"""Metadata that is not ASCII, in the form that R2 sends and reads: RFC 2047's encoded words (rule 43)."""

from __future__ import annotations

import base64
from email.errors import HeaderParseError
from email.header import decode_header, make_header


def decode(value: str) -> str:
    """``value`` with its encoded words decoded; unchanged where it has none or they are malformed."""
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
