"""Finds the reading direction of each character of a line (Unicode Standard Annex #9), with the system's FriBidi.

Pillow's layout engine, which shapes the letters, needs the same library. Where it is missing, only text that is read
from left to right and needs no shaping can be drawn.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Final

# fribidi-bidi-types.h: the type of a paragraph whose first strong letter decides.
_PARAGRAPH_BY_FIRST_LETTER: Final = 0x40
_PARAGRAPH: Final = {0: 0x110, 1: 0x111}


@functools.lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | None:
    for name in ("libfribidi.so.0", "libfribidi.dylib", "libfribidi.0.dylib"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def available() -> bool:
    """Whether FriBidi is installed, so that text of any direction can be laid out."""
    return _library() is not None


def base_direction(text: str) -> int:
    """0 for a paragraph that is read from left to right, 1 for the other one."""
    return _resolve(text, _PARAGRAPH_BY_FIRST_LETTER)[1]


def levels(line: str, base: int) -> list[int]:
    """The embedding level of each character: odd ones are read from right to left."""
    return _resolve(line, _PARAGRAPH[base])[0]


def visual_order(of_runs: list[int]) -> list[int]:
    """The order from left to right in which runs with these levels are shown (rule L2)."""
    order = list(range(len(of_runs)))
    for level in range(max(of_runs, default=0), 0, -1):
        at = 0
        while at < len(order):
            end = at
            while end < len(order) and of_runs[order[end]] >= level:
                end += 1
            order[at:end] = reversed(order[at:end])
            at = max(end, at + 1)
    return order


def _resolve(text: str, paragraph: int) -> tuple[list[int], int]:
    library, count = _library(), len(text)
    if library is None or not count:
        return [0] * count, 0
    characters = (ctypes.c_uint32 * count)(*map(ord, text))
    kinds, brackets = (ctypes.c_uint32 * count)(), (ctypes.c_uint32 * count)()
    found, base = (ctypes.c_int8 * count)(), ctypes.c_uint32(paragraph)
    library.fribidi_get_bidi_types(characters, count, kinds)
    library.fribidi_get_bracket_types(characters, count, kinds, brackets)
    if not library.fribidi_get_par_embedding_levels_ex(kinds, brackets, count, ctypes.byref(base), found):
        raise MemoryError("FriBidi could not lay out a line")
    return list(found), base.value & 1
