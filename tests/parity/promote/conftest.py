"""A world for promotions: doubles of fly, docker and the checks on PATH, each with a state that tests read."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from parity.config.fly_toml import FlyConfig
from parity.promote.commands import Promotion
from parity.promote.interrupt import interruptible
from parity.promote.journal import Journal, only_one
from parity.promote.run import Ended, Patience, Run
from parity.promote.runner import promote
from parity.promote.shell import Shell, private_fly_environment

DOUBLES = Path(__file__).parent / "doubles"
CONFIG_DIGEST = "sha256:" + "c" * 64
OLD = "sha256:" + "1" * 64
MANIFEST = json.dumps({"schemaVersion": 2, "config": {"digest": CONFIG_DIGEST}, "layers": []})
NEW = "sha256:" + hashlib.sha256(MANIFEST.encode()).hexdigest()
SECRETS = {"R2_BUCKET": "Deployed", "MODAL_TOKEN_ID": "Deployed"}


def machine(digest: str, state: str = "started", status: str = "passing", machine_id: str = "m1") -> dict[str, Any]:
    """A Machine as ``fly machine list --json`` shows it, reduced to what is read."""
    ref = {"registry": "registry.fly.io", "repository": "demo", "tag": "", "digest": digest}
    checks = [{"name": "servicecheck-00-http-8080", "status": status}]
    return {"id": machine_id, "state": state, "image_ref": ref, "checks": checks}


@dataclass
class World:
    """``fly`` and ``docker`` are the doubles' states before and, after ``promote``, what they became."""

    folder: Path
    fly: dict[str, Any]
    docker: dict[str, Any]
    live: int = 0
    changes: dict[str, Any] = field(default_factory=dict)
    no_way_back: bool = False
    config: FlyConfig | None = None
    said: list[str] = field(default_factory=list)

    def promotion(self) -> Promotion:
        return Promotion(
            target="staging",
            app="demo",
            config=self.folder / "fly.toml",
            image=CONFIG_DIGEST,
            config_digest=CONFIG_DIGEST,
            tag="abc",
            python=str(DOUBLES / "checks"),
            **self.changes,
        )

    def environ(self) -> dict[str, str]:
        path = f"{DOUBLES}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "DOUBLES": str(self.folder), "HOME": str(self.folder)}

    def promote(self) -> Ended:
        (self.folder / "fly.json").write_text(json.dumps(self.fly))
        (self.folder / "docker.json").write_text(json.dumps(self.docker))
        (self.folder / "live").write_text(str(self.live))
        (self.folder / "fly.toml").write_text("# today's\n")
        state = self.folder / "state"
        with only_one(state), interruptible(), private_fly_environment(self.environ(), state) as environ:
            shell = Shell(environ, self.said.append)
            run = Run(self.promotion(), shell, Journal.read(state), Patience(0.0, 0.01), list(SECRETS), "secrets.env")
            run.no_way_back, run.fly = self.no_way_back, self.config
            ended = promote(run)
        self.fly = json.loads((self.folder / "fly.json").read_text())
        self.docker = json.loads((self.folder / "docker.json").read_text())
        return ended

    def calls(self) -> list[list[str]]:
        return [json.loads(line)["argv"] for line in (self.folder / "calls").read_text().splitlines()]

    def fly_config_dirs(self) -> set[str]:
        lines = [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]
        return {line["config_dir"] for line in lines if "config_dir" in line}

    def interrupt_when_it_hangs(self, number: int = signal.SIGTERM) -> None:
        """Send this process a signal once a double hangs."""

        def watch() -> None:
            while not (self.folder / "hangs").exists():
                time.sleep(0.01)
            os.kill(os.getpid(), number)

        (self.folder / "hangs").unlink(missing_ok=True)
        threading.Thread(target=watch, daemon=True).start()

    @property
    def hanging(self) -> bool:
        """Whether the double that hung is still there."""
        return Path(f"/proc/{(self.folder / 'hangs').read_text()}").exists()

    @property
    def running(self) -> list[str]:
        return [m["image_ref"]["digest"] for m in self.fly["machines"]]

    @property
    def text(self) -> str:
        return "\n".join(self.said)


@pytest.fixture
def world(tmp_path: Path) -> World:
    fly = {"machines": [machine(OLD)], "secrets": dict(SECRETS)}
    return World(tmp_path, fly, {"id": CONFIG_DIGEST, "manifests": {"tag": MANIFEST}})
