"""The table of what Fly does not document."""

from __future__ import annotations

import pytest

from parity.config.errors import ConfigError
from parity.config.settings import load_settings
from parity.fly.server import people_urls
from parity.fly.settings import load_fly_settings


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
    with pytest.raises(ConfigError, match="did you mean PARITY_FLY_QUEUE_S"):
        load_fly_settings({"PARITY_FLY_QEUE_S": "1"})


def test_the_start_page_names_addresses_of_this_computer_not_of_the_container() -> None:
    inside = {"PARITY_API_PORT": "443", "PARITY_MODAL_HOST": "modal", "PARITY_MODAL_PORT": "10900"}
    urls = people_urls(load_settings(inside), load_fly_settings({"PARITY_FLY_PUBLIC_PORT": "9443"}))
    assert urls["api"] == "https://localhost:9443"
    assert urls["modal"] == "http://localhost:10900"
    assert people_urls(load_settings({}), load_fly_settings({}))["api"] == "https://localhost:8443"
