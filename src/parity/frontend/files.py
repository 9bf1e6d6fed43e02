"""Which file answers a path, by the rules of Cloudflare Pages. Pure except for reading the folder.

Source: Cloudflare's "Serving Pages" (read 2026-11): without a top-level ``404.html`` every path that no file has gets
the root page with 200; ``/x.html`` and ``/index.html`` are redirected to the address without the suffix.

Not reproduced (2026-11): ``_headers``, ``_redirects``, Functions, early hints, ETags and compression.
"""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# Python's table depends on the machine's; these are what Pages sends.
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "application/javascript",
    ".mjs": "application/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".ico": "image/vnd.microsoft.icon",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class Answer:
    """``file`` to send, or ``location`` to go to; ``missing`` when the site has a 404 page or no page at all."""

    kind: Literal["file", "redirect", "missing"]
    file: Path | None = None
    location: str = ""


def content_type(file: Path) -> str:
    """The ``Content-Type`` for a file's name."""
    known = _TYPES.get(file.suffix.lower())
    return known or mimetypes.guess_type(file.name)[0] or "application/octet-stream"


def resolve(root: Path, path: str) -> Answer:
    """What the site in ``root`` answers to ``path`` (decoded, begins with ``/``). Never a file outside ``root``."""
    wanted = root / path.lstrip("/")
    inside = wanted.resolve().is_relative_to(root.resolve())
    if inside and path.endswith(".html") and wanted.is_file():
        stem = path.removesuffix(".html")
        location = stem.removesuffix("index") if stem.endswith("/index") else stem
        return Answer("redirect", location=location)
    if inside:
        for candidate in (wanted, wanted / "index.html", wanted.with_name(f"{wanted.name}.html")):
            if wanted.name and candidate.is_file():
                return Answer("file", candidate)
    not_found, page = root / "404.html", root / "index.html"
    if path != "/" and not_found.is_file():
        return Answer("missing", not_found)
    return Answer("file", page) if page.is_file() else Answer("missing")
