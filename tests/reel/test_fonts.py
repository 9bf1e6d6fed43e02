"""Text over a video is drawn as it was typed, or refused by naming what cannot be drawn.

Here with the one font that is everywhere; what the image's fonts draw is judged in `tests/image/test_text.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from reel import bidi, fonts, typeset
from reel.fonts import undrawable
from reel.overlay import draw_overlay
from reel.payloads import FRAME_SIZES, MAX_OVERLAY_TEXT


@pytest.fixture(autouse=True)
def no_further_fonts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "share"))
    fonts._faces.cache_clear()
    fonts._faces_from.cache_clear()
    yield
    fonts._faces.cache_clear()
    fonts._faces_from.cache_clear()


@pytest.mark.parametrize("text", ["Müller", "Łódź – Žižkov", "Спартак", "Ολυμπιακός", "İstanbul ğş", "“Tor!” 100 % €"])
def test_european_letters_are_drawn(text: str, tmp_path: Path) -> None:
    assert undrawable(text) == []
    font = fonts.load(fonts.plain(), 40)
    box = bytes(font.getmask("\U0010fffd"))
    for character in text.replace(" ", ""):
        assert bytes(font.getmask(character)) != box
    placed = draw_overlay(text, (854, 480), tmp_path / "overlay.png")
    with Image.open(placed.path) as picture:
        red, _, _, _ = picture.convert("RGBA").split()
        assert max(red.tobytes()) == 255


def test_letters_with_marks_are_the_same_composed_and_decomposed(tmp_path: Path) -> None:
    one = draw_overlay("Müller", (854, 480), tmp_path / "one.png").path.read_bytes()
    other = draw_overlay("Mu\u0308ller", (854, 480), tmp_path / "other.png").path.read_bytes()
    assert one == other


def test_what_the_font_lacks_is_named_once_with_its_code() -> None:
    assert undrawable("決勝 決 Tor 🏆") == [
        "決 (U+6C7A CJK UNIFIED IDEOGRAPH-6C7A)",
        "勝 (U+52DD CJK UNIFIED IDEOGRAPH-52DD)",
        "🏆 (U+1F3C6 TROPHY)",
    ]


@pytest.mark.parametrize("text", ["مرحبا", "שלום", "ไทย", "한국", "\x07", "\ue000", "\U0010ffff", "\u202e\x00"])
def test_other_scripts_and_characters_without_meaning_are_refused(text: str) -> None:
    assert undrawable(text)
    assert len(undrawable(text)) <= len(set(text))


@pytest.mark.parametrize("frame", sorted(set(FRAME_SIZES.values())))
@pytest.mark.parametrize("text", ["The quick brown fox jumps over the lazy dog " * 5, "W" * MAX_OVERLAY_TEXT, "Tor"])
def test_the_longest_text_is_drawn_whole_inside_the_frame(
    text: str, frame: tuple[int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn: list[str] = []
    draw = typeset.draw

    def record(picture: Image.Image, left: float, baseline: int, line: str, base: int, size: int) -> None:
        drawn.append(line)
        draw(picture, left, baseline, line, base, size)

    monkeypatch.setattr(typeset, "draw", record)
    placed = draw_overlay(text[:MAX_OVERLAY_TEXT], frame, tmp_path / "overlay.png")
    assert "".join(drawn).replace(" ", "") == text[:MAX_OVERLAY_TEXT].replace(" ", "")
    assert min(placed.x, placed.y) > 0
    assert placed.x + placed.width < frame[0]
    assert frame[1] * 0.3 < placed.y < placed.y + placed.height < frame[1]


@pytest.mark.parametrize(
    "text", ["a\u200db", "\ufe0f", "\u0301", "e\u0301\u0302\u0303" * 20, "\u202eabc\u202c", "…" * 200]
)
def test_odd_text_is_refused_or_drawn(text: str, tmp_path: Path) -> None:
    if not undrawable(text):
        assert draw_overlay(text, (854, 480), tmp_path / "overlay.png").width <= 854


def test_a_font_of_the_system_is_asked_by_what_it_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "share" / "fonts" / "noto"
    folder.mkdir(parents=True)
    (folder / "NotoSansHebrew-Regular.ttf").write_bytes(font_with([(0x5D0, 0x5EA)]))
    (folder / "NotoSansHebrewUI-Regular.ttf").write_bytes(b"not looked at")
    fonts._faces.cache_clear()
    fonts._faces_from.cache_clear()
    if not bidi.available():
        pytest.skip("this machine has no FriBidi")
    assert undrawable("שלום") == []
    assert undrawable("שָׁלוֹם") != [], "the marks are not in it"
    face = fonts.face_of("ש")
    assert face is not None
    assert face.path.name == "NotoSansHebrew-Regular.ttf"


@pytest.mark.skipif(not bidi.available(), reason="this machine has no FriBidi")
def test_a_line_is_in_the_order_in_which_it_is_shown() -> None:
    """By UAX #9, with Latin letters forced to the right."""
    runs = typeset.runs("ab \u202eCD 12\u202c ef", 0)
    assert [(run.text, run.level) for run in runs] == [("ab ", 0), ("CD 12", 1), (" ef", 0)]
    assert bidi.base_direction("שלום abc") == 1
    assert bidi.base_direction("abc שלום") == 0
    assert bidi.levels("שלום 12", 1) == [1, 1, 1, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("levels", "order"),
    [([], []), ([0, 0], [0, 1]), ([1, 1], [1, 0]), ([1, 2, 1], [2, 1, 0]), ([0, 1, 2, 1, 0], [0, 3, 2, 1, 4])],
)
def test_runs_are_turned_level_by_level(levels: list[int], order: list[int]) -> None:
    assert bidi.visual_order(levels) == order


def font_with(ranges: list[tuple[int, int]]) -> bytes:
    """A file with nothing but the table of characters."""
    groups = b"".join(struct.pack(">III", first, last, 1) for first, last in ranges)
    table = struct.pack(">HHIII", 12, 0, 16 + len(groups), 0, len(ranges)) + groups
    cmap = struct.pack(">HHHHI", 0, 1, 3, 10, 12) + table
    return struct.pack(">IHHHH", 0x00010000, 1, 0, 0, 0) + struct.pack(">4sIII", b"cmap", 0, 28, len(cmap)) + cmap
