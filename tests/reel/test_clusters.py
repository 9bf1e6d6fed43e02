"""A letter and its marks, and an emoji and its parts, stay together."""

from __future__ import annotations

import pytest

from reel import clusters
from reel.overlay import wrap


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("abc", ["a", "b", "c"]),
        ("e\u0301x", ["e\u0301", "x"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("👍🏽👍", ["👍🏽", "👍"]),
        ("👨‍👩‍👧‍👦!", ["👨‍👩‍👧‍👦", "!"]),
        ("🇩🇪🇫🇷🇮", ["🇩🇪", "🇫🇷", "🇮"]),
        ("1️⃣2", ["1️⃣", "2"]),
        ("🏴󠁧󠁢󠁥󠁮󠁧󠁿⚽", ["🏴󠁧󠁢󠁥󠁮󠁧󠁿", "⚽"]),
    ],
)
def test_a_text_is_split_into_what_is_seen_as_one(text: str, parts: list[str]) -> None:
    assert list(clusters.split(text)) == parts


@pytest.mark.parametrize(
    ("cluster", "is_one"),
    [("⚽", True), ("1", False), ("1️⃣", True), ("❤️", True), ("❤︎", False), ("©", False), ("🇩🇪", True)],
)
def test_an_emoji_is_told_from_a_sign(cluster: str, is_one: bool) -> None:
    assert clusters.is_emoji(cluster) is is_one


@pytest.mark.parametrize(
    ("text", "blank"),
    [("", True), (" \t\u3000", True), ("\u200b\u200d\ufe0f", True), ("\u202e", True), ("\u06dd", False), (" a", False)],
)
def test_a_text_of_which_nothing_is_seen_is_blank(text: str, blank: bool) -> None:
    assert clusters.is_blank(text) is blank


def test_a_word_that_is_too_wide_is_broken_between_clusters() -> None:
    family = "👨‍👩‍👧‍👦"
    lines = wrap(family * 4, lambda part: float(len(list(clusters.split(part)))), 2)
    assert lines == [family * 2, family * 2]
