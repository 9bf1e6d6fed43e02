"""A foreign backend as its own developer has it: a copy of its folder outside of this checkout, its own interpreter, a
process stack, and ``parity --root`` for everything.

Its stack is started once. A mistake is a release of changed code, so only the Machines are started again; before that
they are stopped, and what they stored is deleted.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from parity.checks.stack import ssl_context
from parity.config.settings import HarnessSettings
from parity.config.variables import rows
from parity.stack.admin_client import all_machines, ask
from parity.stack.ports import is_free

HERE = Path(__file__).parent
_RANDOM = random.SystemRandom()
# Of the third backend's Postgres.
SERVICE_PORT = 15432
SECONDS = 900
# The line of a backend's settings.py that names its mistake.
MISTAKE = re.compile(r'^MISTAKE = ".*"$', re.M)


@dataclass(frozen=True)
class Ended:
    """How one check ended."""

    verdict: str
    reason: str


@dataclass
class Repository:
    """``database``: whether it keeps data in Postgres, beside the bucket."""

    folder: Path
    environ: Mapping[str, str]
    database: bool = False
    runs: bool = False

    @classmethod
    def copied(
        cls, name: str, to: Path, python: Path, path: str = "", given: Mapping[str, str] | None = None
    ) -> Repository:
        """On ports that nothing else has, as processes unless ``given``, variables, say otherwise.

        ``python`` is the interpreter that has its requirements; ``path``, the folder of Postgres where the backend
        needs it, is searched before PATH.
        """
        folder = to / name
        shutil.copytree(HERE / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
        link = folder / ".venv/bin/python"
        link.parent.mkdir(parents=True)
        link.write_text(f'#!/bin/sh\nexec "{python}" "$@"\n')
        link.chmod(0o755)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PARITY_", "COMPOSE_"))}
        search = os.pathsep.join(filter(None, [path, kept["PATH"]]))
        own = {"PATH": search, "PARITY_PORT_OFFSET": str(_free_offset()), "PARITY_DRIVER": "process"}
        return cls(folder, {**kept, **own, **(given or {})}, database=bool(path))

    def parity(self, *words: str, expect: tuple[int, ...] = (0,)) -> str:
        """Run ``parity`` on it; what it printed. Fails for another exit code than the expected ones."""
        done = subprocess.run(
            [sys.executable, "-m", "parity", "--root", str(self.folder), *words],
            env={**self.environ, "PYTHONPATH": str(HERE.parents[1] / "src"), "PYTHONSAFEPATH": "1"},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode in expect, f"parity {' '.join(words)} ended with {done.returncode}:\n{said[-4000:]}"
        return said

    @property
    def port_offset(self) -> int:
        return int(self.environ["PARITY_PORT_OFFSET"])

    def admin(self, method: str, path: str, body: object = None) -> Any:
        """The answer of the stack's admin API."""
        return ask(self._admin_url, method, path, body)

    @property
    def _admin_url(self) -> str:
        return f"http://127.0.0.1:{9090 + self.port_offset}"

    def query(self, sql: str) -> str:
        """What Postgres answers."""
        address = f"postgresql://league@127.0.0.1:{SERVICE_PORT + self.port_offset}/postgres"
        command = ["psql", "--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--command", sql, address]
        done = subprocess.run(
            command, env=dict(self.environ), capture_output=True, text=True, timeout=SECONDS, check=True
        )
        return done.stdout.strip()

    def set_mistake(self, mistake: str) -> None:
        """Change the code, so that the next release has this mistake; "" for none."""
        state = self.folder / ".parity"
        (settings,) = (file for file in self.folder.rglob("settings.py") if not file.is_relative_to(state))
        changed, times = MISTAKE.subn(f'MISTAKE = "{mistake}"', settings.read_text("utf-8"))
        assert times == 1, f"{settings} has {times} lines like {MISTAKE.pattern}"
        settings.write_text(changed, "utf-8")

    def release(self, mistake: str = "") -> None:
        """Run the code with one mistake, or without, on an empty bucket and database. Start the stack where none runs.

        All Machines stop first, so that none writes after its data was deleted.
        """
        self.set_mistake(mistake)
        if not self.runs:
            self.parity("up")
            self.runs = True
            return
        for machine in all_machines(self._admin_url):
            self.admin("POST", f"/fly/machines/{machine['id']}/stop")
        self.admin("POST", "/r2/reset")
        self.admin("DELETE", "/r2/requests")
        self.admin("DELETE", "/services/calls")
        if self.database:
            self.query("truncate clubs cascade")
        self.admin("POST", "/fly/releases", {"wait": 110})

    def kept(self) -> dict[str, object]:
        """What the app stored, and what the stand-ins remember of its requests: nothing after a release."""
        found = {
            "objects": self.admin("GET", "/r2/objects")["objects"],
            "clubs": self.query("select handle from clubs") if self.database else "",
            "calls of stubs": self.admin("GET", "/services/calls"),
        }
        return {name: value for name, value in found.items() if value}

    def ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        """An answer of the app to the page's origin, by way of the edge."""
        verify = ssl_context(self.folder / ".parity/trust/ca.pem")
        url = f"https://localhost:{8443 + self.port_offset}{path}"
        return httpx.request(
            method, url, json=body, headers={"Origin": self.origin}, verify=verify, trust_env=False, timeout=60
        )

    @property
    def origin(self) -> str:
        return f"https://{self.folder.name}-staging.example"

    def down(self) -> None:
        """Stop the stack where it runs, and delete what it stored."""
        if self.runs:
            self.parity("down", "--volumes")
            self.runs = False

    def check(self, only: str = "", *, fast: bool = False) -> dict[str, Ended]:
        """Run all generic checks, or those whose names ``only`` selects as pytest's ``-k`` does.

        All of them run as for a developer, three at a time; an argument for pytest would make it one at a time.
        """
        words = [*(["-k", only] if only else []), *(["--fast"] if fast else [])]
        self.parity("check", *words, expect=(0, 1, 6))
        findings = json.loads((self.folder / ".parity/checks/last.json").read_text())
        return {one["name"]: Ended(one["verdict"], one["reason"]) for one in findings["found"] if not one["proof"]}


def _free_offset() -> int:
    """What moves every port of a stack to one on which nothing listens, below those of ``tests.ports``."""
    ports = [int(row.default) for row in rows(HarnessSettings) if row.name.endswith("_PORT")] + [SERVICE_PORT]
    for _ in range(1000):
        offset = _RANDOM.randrange(5_000, 10_000)
        if all(is_free("127.0.0.1", port + offset) for port in ports):
            return offset
    raise RuntimeError("no offset moves all ports to free ones")
