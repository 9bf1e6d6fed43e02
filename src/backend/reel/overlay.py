"""Draws text as a transparent picture, wrapped to fit into a frame."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reel import bidi, clusters, typeset

MAX_LINES = 3
_MARGIN = 0.04
_TEXT_HEIGHT = 0.06


@dataclass(frozen=True)
class Placed:
    """A picture and where its top left corner goes, in pixels of the frame."""

    path: Path
    x: int
    y: int
    width: int
    height: int


def draw_overlay(text: str, frame: tuple[int, int], path: Path) -> Placed:
    """Write `text` as a PNG: white on a dark box, centred near the bottom, at most three lines, then …"""
    from PIL import Image  # heavy: only renders need it

    text = unicodedata.normalize("NFC", text)
    width, height = frame
    margin = max(4, round(min(frame) * _MARGIN))
    size = max(12, round(min(frame) * _TEXT_HEIGHT))
    base = bidi.base_direction(text)
    lines = wrap(text, lambda part: typeset.width(part, base, size), width - 4 * margin)
    tall = [typeset.height(line, base, size) for line in lines]
    line_height = max(round(size * 1.4), *(above + below for above, below in tall))
    widths = [typeset.width(line, base, size) for line in lines]
    box_width = min(width, round(max(widths)) + 2 * margin)
    box_height = line_height * len(lines) + margin
    picture = Image.new("RGBA", (box_width, box_height), (0, 0, 0, 160))
    for number, line in enumerate(lines):
        baseline = margin // 2 + number * line_height + max(above for above, _ in tall)
        typeset.draw(picture, (box_width - widths[number]) / 2, baseline, line, base, size)
    picture.save(path)
    return Placed(path, (width - box_width) // 2, max(0, height - box_height - margin), box_width, box_height)


def wrap(text: str, measure: Callable[[str], float], room: float) -> list[str]:
    """Lines no wider than `room`; words that are wider are broken, what does not fit in three lines ends in …"""
    lines: list[str] = []
    current = ""
    for word in _broken(text.split(), measure, room):
        longer = f"{current} {word}" if current else word
        if current and measure(longer) > room:
            lines.append(current)
            current = word
        else:
            current = longer
    lines.append(current)
    if len(lines) <= MAX_LINES:
        return lines
    last = list(clusters.split(lines[MAX_LINES - 1]))
    while last and measure("".join(last) + "…") > room:
        last.pop()
    return [*lines[: MAX_LINES - 1], "".join(last) + "…"]


def _broken(words: list[str], measure: Callable[[str], float], room: float) -> list[str]:
    parts: list[str] = []
    for word in words:
        rest = list(clusters.split(word))
        while len(rest) > 1 and measure("".join(rest)) > room:
            end = len(rest) - 1
            while end > 1 and measure("".join(rest[:end])) > room:
                end -= 1
            parts.append("".join(rest[:end]))
            rest = rest[end:]
        parts.append("".join(rest))
    return parts
