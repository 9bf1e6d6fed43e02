from pathlib import Path

import pytest

from parity.config.errors import ConfigError
from parity.config.names import project_name


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("parity", "parity"),
        ("My Reels (1)", "myreels1"),
        ("_-Reels.v2", "reelsv2"),
        ("a_b-c", "a_b-c"),
        ("Ärger", "rger"),
    ],
)
def test_a_folder_names_its_project_as_compose_does(folder: str, name: str) -> None:
    assert project_name(Path("/home") / folder, {}) == name


def test_the_variable_goes_before_the_folder() -> None:
    assert project_name(Path("/home/parity"), {"COMPOSE_PROJECT_NAME": "mine"}) == "mine"


@pytest.mark.parametrize("given", ["My", "a b", "-a", "ä"])
def test_a_name_that_compose_refuses_is_refused_with_one_that_it_takes(given: str) -> None:
    with pytest.raises(ConfigError) as caught:
        project_name(Path("/home/parity"), {"COMPOSE_PROJECT_NAME": given})
    assert caught.value.where == "COMPOSE_PROJECT_NAME"
    assert "COMPOSE_PROJECT_NAME=" in caught.value.fix


def test_a_folder_without_a_usable_letter_needs_the_variable() -> None:
    with pytest.raises(ConfigError, match="COMPOSE_PROJECT_NAME=parity"):
        project_name(Path("/home/ÄÖ"), {})
