"""A foreign backend as its own developer has it: a copy of its folder outside of this checkout, its own interpreter, a
process stack, and ``parity --root`` for everything."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from parity.config.settings import HarnessSettings
from parity.config.variables import rows
from parity.stack.ports import is_free

HERE = Path(__file__).parent
_RANDOM = random.SystemRandom()
# Of the third backend's Postgres.
SERVICE_PORT = 15432
SECONDS = 900


@dataclass(frozen=True)
class Ended:
    """How one check ended."""

    verdict: str
    reason: str


@dataclass
class Repository:
    """``python`` is the interpreter that has its requirements."""

    folder: Path
    environ: Mapping[str, str]

    @classmethod
    def copied(
        cls, name: str, to: Path, python: Path, path: str = "", given: Mapping[str, str] | None = None
    ) -> Repository:
        """On ports that nothing else has, as processes unless ``given``, variables, say otherwise; ``path`` is searched
        before PATH."""
        folder = to / name
        shutil.copytree(HERE / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
        link = folder / ".venv/bin/python"
        link.parent.mkdir(parents=True)
        link.write_text(f'#!/bin/sh\nexec "{python}" "$@"\n')
        link.chmod(0o755)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PARITY_", "COMPOSE_"))}
        search = os.pathsep.join(filter(None, [path, kept["PATH"]]))
        own = {"PATH": search, "PARITY_PORT_OFFSET": str(_free_offset()), "PARITY_DRIVER": "process"}
        return cls(folder, {**kept, **own, **(given or {})})

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

    def up(self, mistake: str = "", *, expect: tuple[int, ...] = (0,)) -> str:
        """Start it anew, with one mistake or correct."""
        self.down()
        secrets = self.folder / "secrets.env"
        kept = [line for line in secrets.read_text().splitlines() if not line.startswith("MISTAKE=")]
        secrets.write_text("\n".join([*kept, *([f"MISTAKE={mistake}"] if mistake else [])]) + "\n")
        return self.parity("up", expect=expect)

    def down(self) -> None:
        self.parity("down")

    def check(self, only: str = "", *, fast: bool = False) -> dict[str, Ended]:
        """Run all generic checks, or those whose names ``only`` selects as pytest's ``-k`` does."""
        words = [*(["-k", only] if only else []), *(["--fast"] if fast else [])]
        self.parity("check", "-q", *words, expect=(0, 1, 6))
        findings = json.loads((self.folder / ".parity/checks/last.json").read_text())
        return {one["name"]: Ended(one["verdict"], one["reason"]) for one in findings["found"] if not one["proof"]}


def _free_offset() -> int:
    """What moves every port of a stack to one on which nothing listens, below those that Linux hands out."""
    ports = [int(row.default) for row in rows(HarnessSettings) if row.name.endswith("_PORT")] + [SERVICE_PORT]
    for _ in range(1000):
        offset = _RANDOM.randrange(10_000, 16_000)
        if all(is_free("127.0.0.1", port + offset) for port in ports):
            return offset
    raise RuntimeError("no offset moves all ports to free ones")
