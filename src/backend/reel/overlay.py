"""Text as a transparent picture, wrapped and bounded to a frame."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reel import fonts

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
    from PIL import Image, ImageDraw  # heavy: only renders need it

    text = unicodedata.normalize("NFC", text)
    width, height = frame
    margin = max(4, round(min(frame) * _MARGIN))
    size = max(12, round(min(frame) * _TEXT_HEIGHT))
    font = fonts.font(size)
    room = width - 4 * margin
    lines = wrap(text, lambda part: font.getlength(part), room)
    line_height = round(size * 1.4)
    box_width = min(width, round(max(font.getlength(line) for line in lines)) + 2 * margin)
    box_height = line_height * len(lines) + margin
    picture = Image.new("RGBA", (box_width, box_height), (0, 0, 0, 160))
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        left = (box_width - font.getlength(line)) / 2
        draw.text((left, margin / 2 + number * line_height), line, font=font, fill=(255, 255, 255, 255))
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
    last = lines[MAX_LINES - 1]
    while last and measure(last + "…") > room:
        last = last[:-1]
    return [*lines[: MAX_LINES - 1], last + "…"]


def _broken(words: list[str], measure: Callable[[str], float], room: float) -> list[str]:
    parts: list[str] = []
    for word in words:
        rest = word
        while len(rest) > 1 and measure(rest) > room:
            end = len(rest) - 1
            while end > 1 and measure(rest[:end]) > room:
                end -= 1
            parts.append(rest[:end])
            rest = rest[end:]
        parts.append(rest)
    return parts
