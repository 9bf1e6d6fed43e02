"""One control plane and one worker for all tests here, reached by the unmodified SDK."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import modal
import pytest
from tests.parity.modal.support import Gate, Stack

PORT = 21100


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    app = Path(__file__).parent / "app"
    running = Stack(tmp_path_factory.mktemp("modal"), PORT, app / "deployed.py", [app])
    try:
        running.start("serve")
        running.start("worker")
        running.wait_until_ready()
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module", autouse=True)
def _sdk(stack: Stack) -> Iterator[None]:
    """What a developer sets; the SDK reads it at its first call and keeps the client. Undone for other tests."""
    values = {
        "MODAL_SERVER_URL": stack.url,
        "MODAL_TOKEN_ID": "ak-standin",
        "MODAL_TOKEN_SECRET": "as-standin",
        "MODAL_CONFIG_PATH": os.devnull,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(autouse=True)
def _no_faults(stack: Stack) -> Iterator[None]:
    yield
    if "serve" in stack.processes:
        stack.admin.delete("/faults")


@pytest.fixture
def function(stack: Stack) -> Callable[[str], Any]:
    return lambda name: modal.Function.from_name("reel-ballers-video", name)


@pytest.fixture
def marks(stack: Stack) -> Any:
    """The dict that the deployed functions write to."""
    return modal.Dict.from_name("test-marks", create_if_missing=True)


@pytest.fixture
def key() -> str:
    return secrets.token_hex(4)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)
