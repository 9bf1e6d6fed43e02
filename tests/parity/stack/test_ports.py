import os

import pytest

from parity.stack.errors import PortTaken
from parity.stack.ports import owner_of, require_free


def test_a_taken_port_is_refused_with_its_variable_and_its_owner(taken_port: int) -> None:
    with pytest.raises(PortTaken) as refused:
        require_free("127.0.0.1", {"PARITY_API_PORT": taken_port})
    assert f"port {taken_port} (PARITY_API_PORT) is taken by pid {os.getpid()}" in str(refused.value)
    assert "PARITY_PORT_OFFSET=100, or set PARITY_API_PORT" in str(refused.value)


def test_two_settings_with_one_port_are_refused(free_port: int) -> None:
    with pytest.raises(PortTaken, match="PARITY_A and PARITY_B both choose"):
        require_free("127.0.0.1", {"PARITY_A": free_port, "PARITY_B": free_port})


def test_free_ports_are_accepted(free_port: int) -> None:
    require_free("127.0.0.1", {"PARITY_A": free_port})


def test_a_port_that_no_one_has_has_no_owner(free_port: int) -> None:
    assert owner_of(free_port) == ""


def test_a_port_that_only_the_engine_has_is_refused_too(free_port: int) -> None:
    with pytest.raises(PortTaken, match="is taken by container other-r2-1 of /srv/other"):
        require_free("127.0.0.1", {"PARITY_A": free_port}, lambda _: "container other-r2-1 of /srv/other", {free_port})
