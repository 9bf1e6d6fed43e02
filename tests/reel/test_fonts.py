"""Text over a video is drawn as it was typed, or refused by naming what cannot be drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from reel.fonts import font, undrawable
from reel.overlay import draw_overlay


@pytest.mark.parametrize("text", ["Müller", "Łódź – Žižkov", "Спартак", "Ολυμπιακός", "İstanbul ğş", "“Tor!” 100 % €"])
def test_european_letters_are_drawn(text: str, tmp_path: Path) -> None:
    assert undrawable(text) == []
    box = bytes(font(40).getmask("\U0010fffd"))
    for character in text.replace(" ", ""):
        assert bytes(font(40).getmask(character)) != box
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


@pytest.mark.parametrize("text", ["مرحبا", "שלום", "ไทย", "한국", "\x07", "\ue000", "\U0010ffff"])
def test_other_scripts_and_characters_without_meaning_are_refused(text: str) -> None:
    assert len(undrawable(text)) == len(set(text))
