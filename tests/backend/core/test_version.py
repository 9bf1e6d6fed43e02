"""Which commit the app says it was built from."""

from pathlib import Path

import pytest

from app import version
from app.settings import Settings


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the image's build leaves beside the app."""
    file = tmp_path / "REVISION"
    monkeypatch.setattr(version._commit_of_image, "__defaults__", (file,))
    return file


def test_the_commit_that_the_build_was_given_is_told(image: Path) -> None:
    image.write_text("c0ffee-unverified")
    assert version.commit(Settings(git_commit="abc")) == "abc"


@pytest.mark.parametrize("given", ["", "unknown"])
def test_without_one_the_commit_that_the_build_read_is_told_as_unverified(image: Path, given: str) -> None:
    image.write_text("c0ffee-unverified")
    assert version.commit(Settings(git_commit=given)) == "c0ffee-unverified"


@pytest.mark.parametrize("text", ["", None])
def test_in_a_checkout_git_is_asked(image: Path, monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    if text is not None:
        image.write_text(text)
    monkeypatch.setattr(version, "_commit_of_checkout", lambda: "from git")
    assert version.commit(Settings(git_commit="unknown")) == "from git"
