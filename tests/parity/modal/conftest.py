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


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    app = Path(__file__).parent / "app"
    running = Stack(tmp_path_factory.mktemp("modal"), app / "deployed.py", [app])
    try:
        running.start("serve")
        running.start("worker")
        running.wait_until_ready()
        yield running
    finally:
        running.close()


@pytest.fixture
def stack(processes: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """The running stack, with what a developer sets; the SDK reads it at its first call and keeps the client."""
    monkeypatch.setenv("MODAL_SERVER_URL", processes.url)
    monkeypatch.setenv("MODAL_TOKEN_ID", "ak-standin")
    monkeypatch.setenv("MODAL_TOKEN_SECRET", "as-standin")
    monkeypatch.setenv("MODAL_CONFIG_PATH", os.devnull)
    yield processes
    processes.admin.delete("/faults")


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
