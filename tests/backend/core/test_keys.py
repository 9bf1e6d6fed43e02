"""app.ids and app.storage.keys: no text of a client reaches another folder."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.context import UserContext
from app.ids import InvalidId, is_id, new_id
from app.storage.keys import RELATIVE_PATTERN, InvalidKey, Keys

PROFILE = Keys("staging").profile(UserContext("alice", "main"))
PREFIX = "staging/users/alice/profiles/main/"


@given(st.text(max_size=80))
def test_an_id_is_plain_or_refused(text: str) -> None:
    try:
        key = PROFILE.clip(text)
    except InvalidId:
        assert not is_id(text)
    else:
        assert key == f"{PREFIX}clips/{text}.mp4"
        assert text.isascii()
        assert not set(text) & set("/\\.%\0\n ")


@pytest.mark.parametrize("text", ["", "a\n", ".", "..", "-a", "_a", "a/b", "a" * 65, "é", "a.b"])
def test_what_is_no_id_never_becomes_a_context(text: str) -> None:
    with pytest.raises(InvalidId):
        UserContext(text, "main")
    with pytest.raises(InvalidId):
        UserContext("alice", text)


@given(st.one_of(st.text(max_size=60), st.from_regex(r"(games|clips|exports)(/[A-Za-z0-9._/%-]{0,8}){0,4}")))
def test_a_relative_key_stays_below_the_media_folders_of_its_profile(text: str) -> None:
    try:
        key = PROFILE.relative(text)
    except InvalidKey:
        return
    assert key == PREFIX + text
    assert text.split("/")[0] in {"games", "clips", "exports"}
    assert not {"", ".", ".."} & set(text.split("/"))


@given(st.one_of(st.text(max_size=30), st.from_regex(r"(games|clips|exports|x)(/[A-Za-z0-9._/%\n-]{0,8}){0,4}")))
def test_the_documents_pattern_of_a_key_says_what_is_accepted(text: str) -> None:
    try:
        PROFILE.relative(text)
    except InvalidKey:
        assert not re.fullmatch(RELATIVE_PATTERN.strip("^$"), text)
    else:
        assert re.fullmatch(RELATIVE_PATTERN.strip("^$"), text)


@pytest.mark.parametrize(
    "text",
    ["database.sqlite", "exports", "exports/", "/exports/x.mp4", "exports/../database.sqlite", "exports/..", "clips//x",
     "exports/x.mp4\n", "other/x.mp4", "clips/a..b"],
)  # fmt: skip
def test_a_key_outside_of_the_media_folders_is_refused(text: str) -> None:
    with pytest.raises(InvalidKey):
        PROFILE.relative(text)


def test_every_key_begins_with_the_environment() -> None:
    keys = Keys("staging")
    made = [keys.registry("alice"), keys.profiles_folder("alice"), keys.root, PROFILE.database, PROFILE.clip("c"),
            PROFILE.export("e"), PROFILE.game_source("g", "mp4"), PROFILE.game_folder("g")]  # fmt: skip
    assert all(key.startswith("staging/") for key in made)


@pytest.mark.parametrize("extension", ["", "MP4", "mp4/x", "..", "toolongext"])
def test_an_extension_is_plain(extension: str) -> None:
    with pytest.raises(InvalidKey):
        PROFILE.game_source("g", extension)


def test_new_ids_are_ids_and_differ() -> None:
    made = {new_id("clip") for _ in range(100)}
    assert len(made) == 100
    assert all(is_id(text) for text in made)
