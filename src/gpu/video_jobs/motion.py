"""A small detector on the CPU: what moves between two frames, and has the shape of a standing person. Pure.

It does not recognise players: it finds moving regions. A still player is not found, a moving ball boy is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from PIL import Image, ImageChops, ImageFilter

from reel.payloads import Box

# Frames are compared at this size: 14 400 pixels are enough for shapes and cheap in Python.
WIDTH: Final = 160
HEIGHT: Final = 90
# Grey levels by which a pixel must change, above the noise of compressed video.
_CHANGE = 24
_MIN_PIXELS = 12
_MAX_SHARE = 0.25  # larger regions are the camera's own motion
_MAX_BOXES = 22


def moving_boxes(first: bytes, second: bytes) -> tuple[Box, ...]:
    """Boxes around what moved between two grey frames of 160×90, the surest first."""
    difference = ImageChops.difference(_frame(first), _frame(second))
    change = difference.point(lambda level: 255 if level >= _CHANGE else 0)
    # Closes the gap in a body whose inside has one colour.
    mask = change.filter(ImageFilter.MaxFilter(5)).tobytes()
    boxes = [box for region in _regions(mask) if (box := _box(region, change.tobytes())) is not None]
    return tuple(sorted(boxes, key=lambda box: -box.score)[:_MAX_BOXES])


def sample_times(start_s: float, end_s: float, count: int) -> list[float]:
    """The middles of `count` equal parts of a span."""
    return [start_s + (end_s - start_s) * (number + 0.5) / count for number in range(count)]


def _frame(raw: bytes) -> Image.Image:
    if len(raw) != WIDTH * HEIGHT:
        raise ValueError(f"a grey frame of {WIDTH}×{HEIGHT} has {WIDTH * HEIGHT} bytes, got {len(raw)}")
    return Image.frombytes("L", (WIDTH, HEIGHT), raw)


def _regions(mask: bytes) -> Iterator[list[int]]:
    """Connected pixels, by their positions in the mask."""
    left = {position for position, value in enumerate(mask) if value}
    while left:
        queue = [left.pop()]
        for position in queue:
            x = position % WIDTH
            around = [position - WIDTH, position + WIDTH]
            around += [position - 1] if x else []
            around += [position + 1] if x < WIDTH - 1 else []
            for neighbour in around:
                if neighbour in left:
                    left.remove(neighbour)
                    queue.append(neighbour)
        yield queue


def _box(region: list[int], change: bytes) -> Box | None:
    moved = [position for position in region if change[position]]
    if len(moved) < _MIN_PIXELS:
        return None
    columns, rows = [p % WIDTH for p in moved], [p // WIDTH for p in moved]
    width, height = max(columns) - min(columns) + 1, max(rows) - min(rows) + 1
    if width * height > _MAX_SHARE * WIDTH * HEIGHT or not 0.5 <= height / width <= 6:
        return None
    return Box(
        x=min(columns) / WIDTH,
        y=min(rows) / HEIGHT,
        width=width / WIDTH,
        height=height / HEIGHT,
        score=round(len(moved) / (width * height), 3),
    )
