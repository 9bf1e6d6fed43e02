"""One control plane and one worker for all tests here: real processes, reached by the unmodified SDK."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import modal
import pytest

CHECKOUT = Path(__file__).parents[3]
PORT = 21100


class Stack:
    """A project folder with its own ports, and the two processes."""

    def __init__(self, root: Path, first_port: int, entry: Path, pythonpath: list[Path]) -> None:
        self.root, self.first_port = root, first_port
        self.url = f"http://127.0.0.1:{first_port}"
        self.admin = httpx.Client(base_url=f"http://127.0.0.1:{first_port + 2}/modal", trust_env=False, timeout=20)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        write_project(root, entry, pythonpath)
        ports = zip(("PORT", "BLOB_PORT", "ADMIN_PORT"), range(first_port, first_port + 3), strict=True)
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PARITY_", "MODAL_"))},
            **{f"PARITY_MODAL_{name}": str(port) for name, port in ports},
            "PARITY_MODAL_HOST": "127.0.0.1",
            "PARITY_ROOT": str(root),
            "PYTHONPATH": str(CHECKOUT / "src"),
        }

    def start(self, role: str) -> None:
        log = (self.root / f"{role}.log").open("ab")
        command = [sys.executable, "-m", "parity.modal", role]
        self.processes[role] = subprocess.Popen(command, env=self.environ, stdout=log, stderr=log)
        log.close()

    def stop(self, role: str, number: signal.Signals = signal.SIGTERM) -> int:
        process = self.processes.pop(role)
        process.send_signal(number)
        return process.wait(20)

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            for role, process in self.processes.items():
                assert process.poll() is None, f"{role} ended: {(self.root / f'{role}.log').read_text()}"
            try:
                return self.admin.get("/healthz").status_code == 200
            except httpx.TransportError:
                return False

        until(ready, 40)

    def arm(self, **fault: Any) -> dict[str, Any]:
        answer = self.admin.post("/faults", json=fault)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def close(self) -> None:
        for role in list(self.processes):
            self.stop(role)
        self.admin.close()


def until(holds: Callable[[], object], seconds: float = 20.0) -> None:
    """Poll until it holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"did not come true within {seconds} s"
        time.sleep(0.05)


def write_project(root: Path, entry: Path, pythonpath: list[Path]) -> None:
    """The checkout's own configuration, with another app to deploy."""
    shutil.copytree(CHECKOUT / "deploy", root / "deploy")
    (root / "src").symlink_to(CHECKOUT / "src")
    text = (CHECKOUT / "parity.toml").read_text()
    paths = ", ".join(f'"{path}"' for path in pythonpath)
    lines = [
        f'entry = "{entry}"'
        if line.startswith("entry")
        else f"pythonpath = [{paths}]"
        if "pythonpath" in line
        else line
        for line in text.splitlines()
    ]
    (root / "parity.toml").write_text("\n".join(lines))


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


@pytest.fixture(scope="session", autouse=True)
def _sdk(stack: Stack) -> Iterator[None]:
    """What a developer sets; the SDK reads it at its first call and keeps the client."""
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
