"""Splits text into clusters, which a reader sees as one character: a letter with its marks, an emoji with its parts.

They approximate the extended grapheme clusters of Unicode Standard Annex #29. Lines are broken, widths measured and
fonts chosen only between clusters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Final

_JOINER: Final = "\u200d"
_EMOJI_SIGN, _TEXT_SIGN, _KEYCAP = "\ufe0f", "\ufe0e", "\u20e3"
# Emoji that are pictures without being asked to (Unicode 15, emoji-data.txt, Emoji_Presentation) below U+1F000; most
# characters above are.
_PICTURES: Final = frozenset(
    "\u231a\u231b\u23e9\u23ea\u23eb\u23ec\u23f0\u23f3\u25fd\u25fe\u2614\u2615\u2648\u2649\u264a\u264b\u264c\u264d\u264e"
    "\u264f\u2650\u2651\u2652\u2653\u267f\u2693\u26a1\u26aa\u26ab\u26bd\u26be\u26c4\u26c5\u26ce\u26d4\u26ea\u26f2\u26f3"
    "\u26f5\u26fa\u26fd\u2705\u270a\u270b\u2728\u274c\u274e\u2753\u2754\u2755\u2757\u2795\u2796\u2797\u27b0\u27bf\u2b1b"
    "\u2b1c\u2b50\u2b55"
)
# Format characters (category Cf) that are drawn: Arabic and Kaithi signs that span numbers, and the marks of an
# interlinear annotation (Unicode 15, DerivedCoreProperties.txt: not Default_Ignorable_Code_Point).
_SEEN_FORMATS: Final = frozenset(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\ufff9\ufffa\ufffb\U000110bd\U000110cd"
)


def split(text: str) -> Iterator[str]:
    """The clusters of a text, in order."""
    current = ""
    for character in text:
        if current and not _continues(current, character):
            yield current
            current = ""
        current += character
    if current:
        yield current


def is_emoji(cluster: str) -> bool:
    """Whether a cluster is an emoji, which is drawn in colours."""
    first = cluster[0]
    if _TEXT_SIGN in cluster:
        return False
    if _EMOJI_SIGN in cluster or _KEYCAP in cluster or first in _PICTURES or _is_flag_letter(first):
        return True
    return "\U0001f000" <= first <= "\U0001faff"


def is_unseen(character: str) -> bool:
    """Whether a character is invisible and only changes others: a joiner, a variation selector or a direction mark."""
    if unicodedata.category(character) == "Cf":
        return character not in _SEEN_FORMATS
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef" or character == "\u034f"


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen."""
    return all(character.isspace() or is_unseen(character) for character in text)


def _continues(cluster: str, character: str) -> bool:
    last = cluster[-1]
    if unicodedata.category(character) in ("Mn", "Mc", "Me") or character in (_JOINER, "\u200c"):
        return True
    if "\U0001f3fb" <= character <= "\U0001f3ff" or "\U000e0020" <= character <= "\U000e007f":
        return is_emoji(cluster) or unicodedata.category(cluster[0]) == "So"
    if last == _JOINER and unicodedata.category(character) in ("So", "Sk"):
        return True
    if _is_flag_letter(character):
        return len(cluster) == 1 and _is_flag_letter(last)
    return "\u1160" <= character <= "\u11ff" and "\u1100" <= last <= "\u11ff"  # parts of a Korean syllable


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
