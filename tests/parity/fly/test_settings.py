"""The table of what Fly does not document."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from parity.config.errors import ConfigError
from parity.fly.settings import SETTINGS, FlySettings, load_fly_settings

PAGE = Path(__file__).parents[3] / "docs" / "standins" / "fly.md"


def test_table_and_class_hold_the_same_names() -> None:
    assert {setting.field.removeprefix("fly_") for setting in SETTINGS} == {field.name for field in fields(FlySettings)}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_is_on_the_page_with_its_default(setting: object) -> None:
    row = f"| `{setting.name}` | {f'`{setting.default}`' if setting.default else 'empty'} | {setting.help} |"  # type: ignore[attr-defined]
    assert row in PAGE.read_text("utf-8")


def test_defaults_load() -> None:
    settings = load_fly_settings({})
    assert (settings.start_tries, settings.start_window_s, settings.goaway_code) == (15, 8, 1001)
    assert settings.idle_timeout_s == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PARITY_FLY_QUEUE_S", "0"),
        ("PARITY_FLY_QUEUE_S", "nan"),
        ("PARITY_FLY_START_TRIES", "x"),
        ("PARITY_FLY_WEBSOCKETS_COUNT", "yes"),
        ("PARITY_FLY_PUBLIC_PORT", "70000"),
    ],
)
def test_a_wrong_value_is_refused_with_name_and_form(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        load_fly_settings({name: value})
    assert caught.value.expected


def test_a_misspelt_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no such setting"):
        load_fly_settings({"PARITY_FLY_QEUE_S": "1"})
