"""Draws text as a transparent picture, wrapped to fit into a frame."""

from __future__ import annotations

import bisect
import functools
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reel import bidi, clusters, typeset

MAX_LINES = 3
_MARGIN = 0.04
# Heights of the letters, as shares of the frame's shorter side: the first one that needs at most three lines. With the
# last one, a text may have more lines, up to two thirds of the frame.
_TEXT_HEIGHTS = (0.06, 0.05, 0.04)


@dataclass(frozen=True)
class Placed:
    """A picture and where its top left corner goes, in pixels of the frame."""

    path: Path
    x: int
    y: int
    width: int
    height: int


def draw_overlay(text: str, frame: tuple[int, int], path: Path) -> Placed:
    """Write `text` as a PNG: white on a dark box, centred near the bottom. What does not fit into two thirds
    with the smallest letters ends in …"""
    from PIL import Image  # heavy: only renders need it

    text = unicodedata.normalize("NFC", text)
    width, height = frame
    margin = max(4, round(min(frame) * _MARGIN))
    base, room = bidi.base_direction(text), width - 4 * margin
    for share in _TEXT_HEIGHTS:
        size = max(12, round(min(frame) * share))
        measure = functools.partial(typeset.width, base=base, size=size)
        lines = wrap(text, measure, room)
        if len(lines) <= MAX_LINES:
            break
    tall = [typeset.height(line, base, size) for line in lines]
    line_height = max(round(size * 1.4), *(above + below for above, below in tall))
    lines = shorten(lines, max(MAX_LINES, (height * 2 // 3 - margin) // line_height), measure, room)
    widths = [measure(line) for line in lines]
    box_width = min(width, round(max(widths)) + 2 * margin)
    box_height = line_height * len(lines) + margin
    picture = Image.new("RGBA", (box_width, box_height), (0, 0, 0, 160))
    for number, line in enumerate(lines):
        baseline = margin // 2 + number * line_height + max(above for above, _ in tall)
        typeset.draw(picture, (box_width - widths[number]) / 2, baseline, line, base, size)
    picture.save(path)
    return Placed(path, (width - box_width) // 2, max(0, height - box_height - margin), box_width, box_height)


def wrap(text: str, measure: Callable[[str], float], room: float) -> list[str]:
    """Lines no wider than `room`; words that are wider are broken."""
    lines: list[str] = []
    current = ""
    for word in _broken(text.split(), measure, room):
        longer = f"{current} {word}" if current else word
        if current and measure(longer) > room:
            lines.append(current)
            current = word
        else:
            current = longer
    return [*lines, current]


def shorten(lines: list[str], most: int, measure: Callable[[str], float], room: float) -> list[str]:
    """At most so many lines; the last one ends in … where some are left out."""
    if len(lines) <= most:
        return lines
    last = list(clusters.split(lines[most - 1]))
    while last and measure("".join(last) + "…") > room:
        last.pop()
    return [*lines[: most - 1], "".join(last) + "…"]


def _broken(words: list[str], measure: Callable[[str], float], room: float) -> list[str]:
    parts: list[str] = []
    for word in words:
        rest = list(clusters.split(word))
        while rest:
            count = max(1, _fitting(rest, measure, room))
            parts.append("".join(rest[:count]))
            rest = rest[count:]
    return parts


def _fitting(letters: list[str], measure: Callable[[str], float], room: float) -> int:
    """How many of these clusters fit."""
    return bisect.bisect_right(range(1, len(letters) + 1), room, key=lambda count: measure("".join(letters[:count])))
