"""The engine's client where no engine is."""

import gc
import warnings
from pathlib import Path

import pytest

from parity.report.engine import Engine, EngineError


def test_without_a_socket_the_error_names_it_and_nothing_stays_open(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with pytest.raises(EngineError, match=f"no Docker engine answers at {tmp_path}/engine.sock"):
            Engine({"DOCKER_HOST": f"unix://{tmp_path}/engine.sock"}).get("/_ping")
        gc.collect()


def test_another_kind_of_address_is_refused() -> None:
    with pytest.raises(EngineError, match="not a unix:// address"):
        Engine({"DOCKER_HOST": "tcp://127.0.0.1:1"}).get("/_ping")
