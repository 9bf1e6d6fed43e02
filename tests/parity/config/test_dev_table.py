"""``[dev]`` of ``parity.toml``."""

import pytest
from pydantic import ValidationError

from parity.config.dev_table import Dev, filled


@pytest.mark.parametrize(
    "mounts", [{"src": "app"}, {"src": "/"}, {"src": "/app/../etc"}, {"/etc": "/app"}, {"../other": "/app"}]
)
def test_a_mount_leads_from_the_checkout_to_a_place_in_the_image(mounts: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="is not a p"):
        Dev(mounts=mounts)


def test_a_command_for_a_database_says_where_the_file_goes() -> None:
    with pytest.raises(ValidationError, match="is missing"):
        Dev(database=["{python}", "-m", "app.dump"])


def test_other_words_of_the_command_are_arguments_in_their_order() -> None:
    table = Dev(database=["{python}", "-m", "app.dump", "{tenant}", "--year={year}", "{tenant}", "{file}"])
    assert table.arguments == ("tenant", "year")
    assert filled(table.database, {"python": "python3", "tenant": "a", "year": "2026", "file": "/tmp/x"})[3:] == [
        "a",
        "--year=2026",
        "a",
        "/tmp/x",
    ]
