"""Chooses fonts for text over a video, and finds characters that no font can draw.

Noto Sans, with Latin, Greek and Cyrillic letters, comes as a wheel, so it is everywhere. The further scripts and emoji
are Debian's fonts-noto-core, fonts-noto-cjk and fonts-noto-color-emoji (SIL Open Font License 1.1): the Fly image holds
a part of them, Modal's image all; on a development machine they are where somebody installed them. What no font here
can draw is refused by name.
"""

from __future__ import annotations

import bisect
import functools
import os
import struct
import unicodedata
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reel import bidi, clusters

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

# Pillow is imported by the first text that is drawn: it costs a start 60 ms and 10 MB.
CJK, EMOJI = "NotoSansCJK-Regular.ttc", "NotoColorEmoji.ttf"
# The only size of the emoji's bitmaps, in pixels.
EMOJI_SIZE: Final = 109
# The faces of the CJK font: Han characters look different in Japanese, Korean and Chinese.
_JAPANESE, _KOREAN, _CHINESE = 0, 1, 2
# Fonts of a script that has only a serif one.
_SERIF: Final = ("Tibetan", "Ahom", "Dogra", "Tangut", "Yezidi", "NyiakengPuachueHmong")
# Arabic comes first, because fonts of other scripts have its punctuation too, in their own style and without joins.
# Those at the end must not come before a script's own.
_FIRST: Final = "NotoSansArabic-Regular.ttf"
_LAST: Final = ("NotoSansMath-Regular.ttf", "NotoSansSymbols-Regular.ttf", "NotoSansSymbols2-Regular.ttf", CJK, EMOJI)
# Narrow ones for user interfaces, for large type, without joins, of one region, and SignWriting (5 MB).
_LEFT_OUT: Final = ("UI-", "Display-", "Unjoined-", "Tifinagh", "SignWriting-")
# Without a layout engine that shapes, these of Noto Sans would come out wrong.
_SHAPED: Final = ("DEVANAGARI",)


@dataclass(frozen=True)
class Face:
    """A font file, and which of its faces."""

    path: Path
    number: int = 0

    @property
    def is_emoji(self) -> bool:
        return self.path.name == EMOJI


def undrawable(text: str) -> list[str]:
    """The characters of `text` that cannot be drawn, each once, as "決 (U+6C7A CJK UNIFIED IDEOGRAPH-6C7A)"."""
    missing: list[str] = []
    for cluster in dict.fromkeys(clusters.split(unicodedata.normalize("NFC", text))):
        if cluster.isascii() and (cluster.isprintable() or cluster.isspace()):
            continue
        if not cluster.isspace() and face_of(cluster) is None:
            missing += _lacking(cluster)
    return [_named(character) for character in dict.fromkeys(missing)]


def face_of(cluster: str, line: str = "") -> Face | None:
    """The face that draws all of a cluster, as its line is written; None where there is none."""
    seen = tuple(character for character in cluster if not clusters.is_unseen(character))
    # Unassigned ones (Cn) are not among them: a font may be newer than Python, as with emoji of Unicode 15.
    if any(unicodedata.category(character) in ("Cc", "Co", "Cs") for character in cluster):
        return None
    # Fonts of Mongolian, Yi and other scripts have "、。「」" too, with another place in the square.
    is_wide = unicodedata.east_asian_width(cluster[0]) in ("W", "F", "H")
    for face in _faces_from(EMOJI if clusters.is_emoji(cluster) else CJK if is_wide else ""):
        if all(_covers(face, character) for character in seen):
            return Face(face.path, _language(line or cluster)) if face.path.name == CJK else face
    return None


def load(face: Face, size: int) -> FreeTypeFont:
    """A face at a size in pixels; emoji always at EMOJI_SIZE."""
    from PIL import ImageFont

    return ImageFont.truetype(str(face.path), EMOJI_SIZE if face.is_emoji else size, index=face.number)


def plain() -> Face:
    """Noto Sans."""
    folder = files("fontpkg_noto_sans") / "files"
    return Face(Path(next(str(entry) for entry in folder.iterdir() if entry.name.startswith("NotoSans["))))


def _lacking(cluster: str) -> list[str]:
    """The characters of a cluster that no face has, else its marks: no face has them with their letter."""
    seen = [character for character in cluster if not clusters.is_unseen(character)]
    alone = [character for character in seen if face_of(character) is None]
    return alone or seen[1:] or list(cluster)


def _named(character: str) -> str:
    name = unicodedata.name(character, "")
    return f"{character} (U+{ord(character):04X}{' ' if name else ''}{name})"


def _language(line: str) -> int:
    names = [unicodedata.name(character, "") for character in line]
    if any(name.startswith(("HIRAGANA", "KATAKANA")) for name in names):
        return _JAPANESE
    return _KOREAN if any(name.startswith("HANGUL") for name in names) else _CHINESE


@functools.lru_cache(maxsize=1)
def _faces() -> tuple[Face, ...]:
    """Every face, in the order in which they are asked."""
    if not bidi.available():
        return (plain(),)
    found: dict[str, Path] = {}
    # Where a system's fonts are (XDG Base Directory Specification).
    for folder in os.environ.get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(":"):
        for path in sorted(Path(folder, "fonts").rglob("Noto*")):
            if _is_wanted(path.name):
                found.setdefault(path.name, path)
    order = sorted(found, key=lambda name: (_LAST.index(name) if name in _LAST else -1, name != _FIRST, name))
    return (plain(), *(Face(found[name]) for name in order))


@functools.lru_cache(maxsize=3)
def _faces_from(first: str) -> tuple[Face, ...]:
    """Every face, that of the named file first."""
    return tuple(sorted(_faces(), key=lambda face: face.path.name != first))


def _is_wanted(name: str) -> bool:
    if name in (CJK, EMOJI):
        return True
    if not name.endswith("-Regular.ttf") or any(part in name for part in _LEFT_OUT):
        return name == "NotoSansTifinagh-Regular.ttf"
    return name.startswith("NotoSans") or name.removeprefix("NotoSerif").removesuffix("-Regular.ttf") in _SERIF


def _covers(face: Face, character: str) -> bool:
    if not bidi.available() and unicodedata.name(character, "").startswith(_SHAPED):
        return False
    starts, ends = _coverage(face.path)
    at = bisect.bisect_right(starts, ord(character)) - 1
    return at >= 0 and ord(character) <= ends[at]


@functools.lru_cache(maxsize=512)
def _coverage(path: Path) -> tuple[list[int], list[int]]:
    """First and last code points of the ranges that a font has (OpenType, cmap, formats 4 and 12), by its table alone:
    a font of 19 MB is not read for it."""
    with path.open("rb") as file:
        head = file.read(16)
        start = struct.unpack(">I", head[12:16])[0] if head[:4] == b"ttcf" else 0
        file.seek(start)
        (count,) = struct.unpack(">4xH6x", file.read(12))
        tables = file.read(16 * count)
        at = next(at for at in range(0, len(tables), 16) if tables[at : at + 4] == b"cmap")
        offset, length = struct.unpack(">II", tables[at + 8 : at + 16])
        file.seek(offset)
        ranges = sorted(_ranges(file.read(length)))
    return [first for first, _ in ranges], [last for _, last in ranges]


def _ranges(cmap: bytes) -> list[tuple[int, int]]:
    (count,) = struct.unpack_from(">H", cmap, 2)
    best: dict[int, int] = {}
    for number in range(count):
        (offset,) = struct.unpack_from(">I", cmap, 4 + 8 * number + 4)
        best[struct.unpack_from(">H", cmap, offset)[0]] = offset
    if 12 in best:
        (groups,) = struct.unpack_from(">I", cmap, best[12] + 12)
        found = [struct.unpack_from(">III", cmap, best[12] + 16 + 12 * number) for number in range(groups)]
        return [(first, last) for first, last, _ in found]
    at = best[4]
    (double,) = struct.unpack_from(">H", cmap, at + 6)
    ends = struct.unpack_from(f">{double // 2}H", cmap, at + 14)
    starts = struct.unpack_from(f">{double // 2}H", cmap, at + 16 + double)
    return [(first, last) for first, last in zip(starts, ends, strict=True) if first != 0xFFFF]
