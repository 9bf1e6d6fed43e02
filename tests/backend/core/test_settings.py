"""app.settings: one table, everything wrong said at once."""

import os
from pathlib import Path

import pytest

from app import settings as module
from app.settings import SettingsError, from_environment

R2 = {
    "R2_ENABLED": "true",
    "R2_ENDPOINT": "https://r2.example",
    "R2_ACCESS_KEY_ID": "a",
    "R2_SECRET_ACCESS_KEY": "b",
    "R2_BUCKET": "bucket",
}
SEED = """
    ENV DEBUG APP_ENV R2_ENABLED R2_ENDPOINT R2_ACCESS_KEY_ID R2_SECRET_ACCESS_KEY R2_BUCKET MODAL_ENABLED
    MODAL_TOKEN_ID MODAL_TOKEN_SECRET CORS_ORIGINS CLEAR_PENDING_JOBS_ON_STARTUP GIT_COMMIT
"""


@pytest.mark.parametrize("word", ["false", "False", "0", "no", "off"])
def test_a_word_for_no_switches_off(word: str) -> None:
    assert from_environment({"DEBUG": word}).debug is False


def test_everything_that_is_wrong_is_told_at_once_with_its_form() -> None:
    with pytest.raises(SettingsError) as caught:
        from_environment({"DEBUG": "maybe", "APP_ENV": "../prod", "ENV": "qa", "PART_BYTES": "5", "R2_ENABLED": "yes"})
    told = caught.value.problems
    assert "DEBUG: expected true or false, got 'maybe'" in told
    named = {problem.split(":")[0] for problem in told}
    assert named == {"DEBUG", "APP_ENV", "ENV", "PART_BYTES"} | {name for name in R2 if name != "R2_ENABLED"}


def test_a_secret_is_never_repeated() -> None:
    assert "hunter2" not in repr(from_environment({**R2, "R2_SECRET_ACCESS_KEY": "hunter2"}))


def test_modal_without_its_tokens_is_refused_outside_of_development() -> None:
    with pytest.raises(SettingsError, match="MODAL_TOKEN_ID"):
        from_environment({**R2, "ENV": "staging", "MODAL_ENABLED": "true"})


def test_modal_without_r2_is_refused() -> None:
    with pytest.raises(SettingsError, match="R2_ENABLED: must be true"):
        from_environment({"MODAL_ENABLED": "true"})


@pytest.mark.parametrize("text", ["https://a.example/path", "a.example", "https://", "*", "https://a.example:x"])
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="CORS_ORIGINS"):
        from_environment({"CORS_ORIGINS": text})


def test_origins_are_separated_by_commas() -> None:
    found = from_environment({"CORS_ORIGINS": " https://A.example/ , ,http://b.example:81"}).cors_origins
    assert found == ("https://a.example", "http://b.example:81")


def test_an_empty_value_counts_as_absent() -> None:
    assert from_environment({"DEBUG": "", "APP_ENV": " "}) == from_environment({})


def test_every_variable_of_the_seed_is_in_the_table() -> None:
    assert set(SEED.split()) <= {variable.name for variable, _ in module.table()}


def test_every_variable_is_documented() -> None:
    page = Path(__file__).parents[3] / "docs" / "settings.md"
    assert page.read_text() == module.markdown()


def test_a_dotenv_file_is_read_in_development_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("APP_ENV=from-file\n")
    monkeypatch.setattr(module, "_project_root", lambda: tmp_path)
    monkeypatch.setattr(os, "environ", {"ENV": "staging"})
    assert module.load().app_env == "dev"
    monkeypatch.setattr(os, "environ", {})
    assert module.load().app_env == "from-file"
