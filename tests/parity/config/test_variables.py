from dataclasses import dataclass

import pytest

from parity.config.errors import ConfigError
from parity.config.variables import (
    SWITCH,
    TEXT,
    help_text,
    integer,
    markdown,
    names,
    number,
    read,
    refuse_unknown,
    setting,
)


@dataclass(frozen=True, kw_only=True)
class Example:
    count: int = setting("PARITY_X_COUNT", integer(1, 5), "2", "how many")
    share: float = setting("PARITY_X_SHARE", number(0, 1), "0.5", "which part")
    loud: bool = setting("PARITY_X_LOUD", SWITCH, "false", "say more", inside=True)
    token: str = setting("PARITY_X_TOKEN", TEXT, "", "who asks", secret=True)


def test_an_unset_and_an_empty_variable_take_the_default() -> None:
    assert read(Example, {"PARITY_X_COUNT": ""}) == {"count": 2, "share": 0.5, "loud": False, "token": ""}
    assert Example() == Example(**read(Example, {}))


def test_every_wrong_value_is_told_at_once_with_its_form() -> None:
    with pytest.raises(ConfigError) as caught:
        read(Example, {"PARITY_X_COUNT": "9", "PARITY_X_SHARE": "nan", "PARITY_X_LOUD": "yes"})
    assert {error.where: error.expected for error in caught.value.errors} == {
        "PARITY_X_COUNT": "a whole number from 1 to 5",
        "PARITY_X_SHARE": "a number from 0 to 1",
        "PARITY_X_LOUD": "true or false",
    }


def test_a_misspelt_name_is_refused_with_the_nearest_and_others_names_are_not_looked_at() -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_unknown({"PARITY_X_CUONT": "1", "HOME": "/", "PARITY_FAR_AWAY": "1"}, names(Example))
    found = {error.where: error.expected for error in caught.value.errors}
    assert found["PARITY_X_CUONT"] == "did you mean PARITY_X_COUNT?"
    assert "settings-parity.md" in found["PARITY_FAR_AWAY"]
    refuse_unknown({"HOME": "/", "PARITY_X_COUNT": "1"}, names(Example))


def test_the_page_shows_every_variable_and_the_terminal_those_that_a_developer_sets() -> None:
    assert [name for name in names(Example) if f"`{name}`" not in markdown(Example)] == []
    assert "PARITY_X_LOUD" not in help_text(Example)
    assert "PARITY_X_COUNT=2" in help_text(Example)


def test_a_secret_is_not_shown() -> None:
    assert "hidden" not in repr(Example(token="hidden"))
