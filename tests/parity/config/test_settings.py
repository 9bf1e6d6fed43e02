from pathlib import Path

import pytest

from parity.config.errors import ConfigError
from parity.config.settings import load_settings


def test_an_unset_and_an_empty_variable_take_the_default(tmp_path: Path) -> None:
    settings = load_settings({"PARITY_ROOT": str(tmp_path), "PARITY_R2_PORT": ""})
    assert settings.r2_port == 9000
    assert settings.state_dir == tmp_path / ".parity"
    assert settings.trust_dir == tmp_path / ".parity" / "trust"
    assert settings.ca_path == str(tmp_path / ".parity" / "trust" / "ca.pem")


def test_folders_that_are_given_win_over_the_state_folder(tmp_path: Path) -> None:
    settings = load_settings({"PARITY_ROOT": str(tmp_path), "PARITY_CA_DIR": "/ca", "PARITY_CA_PATH": "/etc/ca.pem"})
    assert settings.ca_dir == Path("/ca")
    assert settings.ca_path == "/etc/ca.pem"


def test_admin_urls_follow_the_ports_unless_they_are_given() -> None:
    settings = load_settings({"PARITY_R2_ADMIN_PORT": "7001", "PARITY_MODAL_ADMIN_URL": "http://modal:9092/"})
    assert settings.r2_admin_url == "http://127.0.0.1:7001"
    assert settings.modal_admin_url == "http://modal:9092"


@pytest.mark.parametrize(
    ("name", "value"),
    [("PARITY_API_PORT", "0"), ("PARITY_API_PORT", "http"), ("PARITY_DRIVER", "podman"), ("PARITY_R2_HOST", "a/b"),
     ("PARITY_R2_ADMIN_URL", "r2:9091")],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_the_variable_and_the_form(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({name: value})
    assert caught.value.where == name
    assert value in caught.value.problem
    assert caught.value.expected


def test_an_offset_moves_every_port_but_those_that_are_given() -> None:
    settings = load_settings({"PARITY_PORT_OFFSET": "100", "PARITY_R2_PORT": "9000"})
    assert settings.published_ports() == {
        "PARITY_API_PORT": 8543, "PARITY_API_HTTP_PORT": 8180, "PARITY_FRONTEND_PORT": 5273,
        "PARITY_FRONTEND_TLS_PORT": 5543, "PARITY_R2_PORT": 9000, "PARITY_MODAL_PORT": 10000,
        "PARITY_MODAL_BLOB_PORT": 10001, "PARITY_ADMIN_PORT": 9190,
    }  # fmt: skip
    assert (settings.r2_admin_port, settings.modal_admin_port) == (9191, 9192)
    assert settings.r2_admin_url == "http://127.0.0.1:9191"


@pytest.mark.parametrize("offset", ["-1", "60000", "many"])
def test_an_offset_that_no_port_can_follow_is_refused(offset: str) -> None:
    with pytest.raises(ConfigError, match="PARITY_PORT_OFFSET"):
        load_settings({"PARITY_PORT_OFFSET": offset})


def test_the_image_carries_the_name_of_the_project(tmp_path: Path) -> None:
    checkout = tmp_path / "My Reels"
    checkout.mkdir()
    assert load_settings({"PARITY_ROOT": str(checkout)}).image == "myreels-api"
    assert load_settings({"PARITY_ROOT": str(checkout), "COMPOSE_PROJECT_NAME": "b"}).image == "b-api"


def test_a_child_that_is_given_the_settings_reads_the_same() -> None:
    for given in ({}, {"PARITY_AS_FLYCTL": "true", "PARITY_API_PORT": "8444"}):
        settings = load_settings(given)
        assert load_settings(settings.environment()) == settings
