"""The font of text over a video, and which characters it can draw.

Noto Sans (package fontpkg-noto-sans, SIL Open Font License) has Latin, Greek and Cyrillic letters and Devanagari. It
comes as a wheel, so the image, Modal and a development machine draw the same. Chinese, Japanese, Korean, Arabic,
Hebrew, further scripts and emoji need more fonts, and some of them shaping; until those are there, such text is
refused by name.
"""

from __future__ import annotations

import functools
import unicodedata
from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

# Pillow is imported by the first text that is not ASCII: it costs a start 60 ms and 10 MB.
_NO_CHARACTER: Final = "\U0010fffd"
_SHAPED: Final = ("DEVANAGARI",)


def undrawable(text: str) -> list[str]:
    """The characters of `text` that cannot be drawn, each once, as "決 (U+6C7A CJK UNIFIED IDEOGRAPH-6C7A)"."""
    missing = []
    for character in dict.fromkeys(unicodedata.normalize("NFC", text)):
        if character.isspace() or (character.isascii() and character.isprintable()) or _drawable(character):
            continue
        name = unicodedata.name(character, "")
        missing.append(f"{character} (U+{ord(character):04X}{' ' if name else ''}{name})")
    return missing


def font(size: int) -> FreeTypeFont:
    """Noto Sans at a size in pixels."""
    from PIL import ImageFont

    return ImageFont.truetype(_file(), size)


@functools.lru_cache(maxsize=4096)
def _drawable(character: str) -> bool:
    if unicodedata.name(character, "").startswith(_SHAPED) and not _shapes():
        return False
    probe = font(32)
    # A font draws the same box for every character that it lacks.
    return bytes(probe.getmask(character)) != bytes(probe.getmask(_NO_CHARACTER))


@functools.lru_cache(maxsize=1)
def _file() -> str:
    folder = files("fontpkg_noto_sans") / "files"
    return next(str(entry) for entry in folder.iterdir() if entry.name.startswith("NotoSans["))


def _shapes() -> bool:
    """Whether Pillow has a text layout engine that shapes (Raqm, which needs the system's FriBidi)."""
    from PIL import features

    return bool(features.check("raqm"))
