"""A control plane and a worker as real processes, for tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from tests.ports import free_ports

CHECKOUT = Path(__file__).parents[3]


class Stack:
    """A project folder with its own ports, and the two processes."""

    def __init__(self, root: Path, entry: Path, pythonpath: list[Path]) -> None:
        names = ("MODAL_PORT", "MODAL_BLOB_PORT", "MODAL_ADMIN_PORT", "R2_PORT", "R2_ADMIN_PORT", "GPU_DEBUG_PORT")
        self.root, self.ports = root, dict(zip(names, free_ports(len(names)), strict=True))
        self.url = f"http://127.0.0.1:{self.ports['MODAL_PORT']}"
        admin = f"http://127.0.0.1:{self.ports['MODAL_ADMIN_PORT']}/modal"
        self.admin = httpx.Client(base_url=admin, trust_env=False, timeout=60)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        write_project(root, entry, pythonpath)
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PARITY_", "MODAL_"))},
            **{f"PARITY_{name}": str(port) for name, port in self.ports.items()},
            "PARITY_MODAL_HOST": "127.0.0.1",
            "PARITY_ROOT": str(root),
            "PYTHONPATH": str(CHECKOUT / "src"),
        }

    def start(self, role: str, *command: str) -> None:
        """Start `python -m parity.modal ROLE`, or another command of Python's under that name."""
        log = (self.root / f"{role}.log").open("ab")
        line = [sys.executable, *(command or ("-m", "parity.modal", role))]
        self.processes[role] = subprocess.Popen(line, env=self.environ, stdout=log, stderr=log)
        log.close()

    def stop(self, role: str, number: signal.Signals = signal.SIGTERM) -> int:
        process = self.processes.pop(role)
        process.send_signal(number)
        return process.wait(60)

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            for role, process in self.processes.items():
                assert process.poll() is None, f"{role} ended: {(self.root / f'{role}.log').read_text()}"
            try:
                return self.admin.get("/healthz").status_code == 200
            except httpx.TransportError:
                return False

        until(ready, 120)

    def arm(self, **fault: Any) -> dict[str, Any]:
        answer = self.admin.post("/faults", json=fault)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def app(self, name: str = "reel-ballers-video") -> dict[str, Any]:
        """What the admin API says of an app."""
        (found,) = [app for app in self.admin.get("/apps").json() if app["name"] == name]
        return dict(found)

    def close(self) -> None:
        for role in reversed(list(self.processes)):
            self.stop(role)
        self.admin.close()


def until(holds: Callable[[], object], seconds: float = 60.0) -> None:
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


class Gate:
    """The test's side of the deployed function ``wait_for``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def pid(self) -> int:
        """Process of the container that waits; 0 while none does."""
        try:
            return int((self.folder / "pid").read_text() or 0)
        except FileNotFoundError:
            return 0

    def entered(self, not_by: int = 0) -> int:
        """Wait for a container, another one than that; returns its process."""
        until(lambda: self.pid not in (0, not_by))
        return self.pid

    def open(self) -> None:
        (self.folder / "go").touch()

    def passed(self, got: object) -> None:
        assert got == f"{self.folder} went on"
