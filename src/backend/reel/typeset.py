"""Measures and draws a line of text of any script: split into runs of one font face and direction, left to right."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reel import bidi, clusters, fonts
from reel.fonts import Face

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFont import FreeTypeFont

WHITE: Final = (255, 255, 255, 255)


@dataclass(frozen=True)
class Run:
    """Adjacent characters of one face and direction, in reading order. An odd bidi `level` is right to left. `shaped`
    is the text for the layout engine."""

    text: str
    face: Face
    level: int
    overridden: bool = False

    @property
    def shaped(self) -> str:
        if not self.overridden:
            return self.text
        # The engine would lay out letters in their own direction.
        return ("\u202e" if self.level % 2 else "\u202d") + self.text + "\u202c"


def runs(line: str, base: int) -> list[Run]:
    """The runs of a line from left to right; `base` is the bidi level of the line. Characters without a font are left
    out."""
    found: list[Run] = []
    levels, at = bidi.levels(line, base), 0
    overridden = "\u202d" in line or "\u202e" in line
    for cluster in clusters.split(line):
        level = levels[at]
        at += len(cluster)
        previous = found[-1] if found else None
        face = previous.face if previous and cluster.isspace() and not previous.face.is_emoji else None
        face = face or fonts.face_of(" " if cluster.isspace() else cluster, line)
        text = _without_direction_marks(cluster)
        if face is None or not text:
            continue
        if previous and (previous.face, previous.level) == (face, level):
            found[-1] = Run(previous.text + text, face, level, overridden)
        else:
            found.append(Run(text, face, level, overridden))
    return [found[number] for number in bidi.visual_order([run.level for run in found])]


def width(line: str, base: int, size: int) -> float:
    """Width of the line in pixels."""
    return sum(_advance(run, size) for run in runs(line, base))


def height(line: str, base: int, size: int) -> tuple[int, int]:
    """Pixels above and below the baseline."""
    metrics = [_font(run.face, size).getmetrics() for run in runs(line, base) if not run.face.is_emoji]
    return max([size, *(above for above, _ in metrics)]), max([size // 3, *(below for _, below in metrics)])


def draw(picture: Image.Image, left: float, baseline: int, line: str, base: int, size: int) -> None:
    """Draw a line in white, with emoji in colour."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(picture)
    for run in runs(line, base):
        font = _font(run.face, size)
        if run.face.is_emoji:
            _draw_emoji(picture, round(left), baseline, run, size)
        else:
            pen.text((left, baseline), run.shaped, font=font, fill=WHITE, anchor="ls", direction=_direction(run))
        left += _advance(run, size)


def _draw_emoji(picture: Image.Image, left: int, baseline: int, run: Run, size: int) -> None:
    """Draw emoji. Their font has bitmaps of one size, which are scaled."""
    from PIL import Image, ImageDraw

    font = _font(run.face, size)
    above, below = font.getmetrics()
    drawn = Image.new("RGBA", (max(1, round(font.getlength(run.shaped, direction=_direction(run)))), above + below))
    ImageDraw.Draw(drawn).text(
        (0, above), run.shaped, font=font, anchor="ls", embedded_color=True, direction=_direction(run)
    )
    scale = size / fonts.EMOJI_SIZE
    small = drawn.resize(
        (max(1, round(drawn.width * scale)), max(1, round(drawn.height * scale))), Image.Resampling.BOX
    )
    picture.alpha_composite(small, (max(0, left), max(0, baseline - round(above * scale))))


def _advance(run: Run, size: int) -> float:
    length = _font(run.face, size).getlength(run.shaped, direction=_direction(run))
    return length * size / fonts.EMOJI_SIZE if run.face.is_emoji else length


def _direction(run: Run) -> str | None:
    """Pillow's `direction`. None if Pillow has no text shaping, because it then accepts no direction."""
    return ("rtl" if run.level % 2 else "ltr") if bidi.available() else None


@functools.lru_cache(maxsize=64)
def _font(face: Face, size: int) -> FreeTypeFont:
    return fonts.load(face, size)


def _without_direction_marks(cluster: str) -> str:
    """Without the direction marks, which a font may draw as boxes. `bidi.levels` has already used them."""
    return "".join(character for character in cluster if not _is_direction_mark(character))


def _is_direction_mark(character: str) -> bool:
    return character in "\u200e\u200f\u061c" or "\u202a" <= character <= "\u202e" or "\u2066" <= character <= "\u2069"
