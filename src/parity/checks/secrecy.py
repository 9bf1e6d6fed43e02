"""Removes credentials from everything that a run writes: reasons, evidence, receipts and pages.

The report of a failed request quotes headers, cookies, query strings and bodies. Values whose name looks like that of a
credential, and the values of the app's own secrets, are replaced before anything is written.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

HIDDEN = "(hidden)"
_HEADERS = re.compile(r"authorization|cookie|token|secret|password|api[-_]?key|session|csrf", re.I)
_WORD = r"(?:[\w-]*(?:token|secret|password|passwd|api[-_]?key|apikey|signature|session|jwt|credential|csrf)[\w-]*)"
_HIDDEN_FIELD = re.compile(_WORD + r"|authorization|cookie|set-cookie", re.I)
_PATTERNS = (
    # JSON and Python literals: "token": "…"
    re.compile(rf"""(["']{_WORD}["']\s*[:=]\s*["'])([^"']{{4,}})(["'])""", re.I),
    # Query strings and forms, among them presigned URLs: X-Amz-Signature=…
    re.compile(rf"""((?:^|[?&;\s]){_WORD}=)([^&;\s"']{{4,}})()""", re.I),
    # Authorization: Bearer …, also without the header's name
    re.compile(r"(\b(?:bearer|basic)\s+)([\w.~+/=-]{8,})()", re.I),
    # JSON Web Tokens
    re.compile(r"()(\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)()"),
)


def hidden_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by name, with credentials replaced. Several headers of one name are joined with commas."""
    shown: dict[str, str] = {}
    for name, value in headers:
        kept = HIDDEN if _HEADERS.search(name) else value
        shown[name] = f"{shown[name]}, {kept}" if name in shown else kept
    return shown


def without_credentials(text: str, secrets: Collection[str] = ()) -> str:
    """``text`` with everything replaced that looks like a credential or is one of ``secrets``."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= 8:  # shorter values, such as "true", are not secret
            text = text.replace(secret, HIDDEN)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<1>{HIDDEN}\g<3>", text)
    return text


def cleaned(content: Any, secrets: Collection[str] = ()) -> Any:
    """JSON in which every text is cleaned, and each text below a key such as ``token`` is hidden."""
    if isinstance(content, Mapping):
        return {
            key: HIDDEN
            if isinstance(value, str) and value and _HIDDEN_FIELD.fullmatch(str(key))
            else cleaned(value, secrets)
            for key, value in content.items()
        }
    if isinstance(content, list | tuple):
        return [cleaned(one, secrets) for one in content]
    return without_credentials(content, secrets) if isinstance(content, str) else content
