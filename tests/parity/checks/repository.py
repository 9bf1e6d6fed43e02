"""A small repository with checks of its own, and `parity check` run on it: what the plugin does, without a stack."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from xml.etree import ElementTree

from parity.report.findings import Finding, Findings, Verdict

FLY = """
app = "notes"
primary_region = "fra"
[http_service]
internal_port = 8000
"""
PARITY = """
[checks]
contract = "contract.py"
"""
DOCSTRING = '"Correct it."'
CONTRACT = """
from parity.contract import InBucket
class Contract:
    keeps = InBucket("notes/")
    def __init__(self, api): self.api = api
    async def sign_in(self): ...
    async def write(self, text): ...
    async def read(self): return []
"""


@dataclass(frozen=True)
class Ended:
    """How a run ended: exit code, output, findings (None where there are none), JUnit's counts of the suite."""

    code: int
    output: str
    findings: Findings | None
    junit: dict[str, int]

    def one(self, name: str, *, proof: bool = False) -> Finding:
        assert self.findings is not None, self.output
        return next(found for found in self.findings.found if found.name == name and found.proof is proof)

    def verdict(self, name: str, *, proof: bool = False) -> Verdict:
        return self.one(name, proof=proof).verdict

    @property
    def last_line(self) -> str:
        """pytest's own closing line."""
        return next(line for line in reversed(self.output.splitlines()) if " in " in line and line[:1].isdigit())


def with_docstrings(checks: str) -> str:
    """``checks`` with a docstring in each test, which each writes on one line up to its colon."""

    def documented(found: re.Match[str]) -> str:
        body = found["body"].strip()
        return f"{found['head']} {DOCSTRING}; {body}" if body else f"{found['head']}\n    {DOCSTRING}"

    return re.sub(r"^(?P<head>(async )?def test_.*?\):)(?P<body>.*)$", documented, checks, flags=re.MULTILINE)


@dataclass(frozen=True)
class Repository:
    """A folder with fly.toml, parity.toml, a contract and a file of checks."""

    folder: Path

    @classmethod
    def at(cls, folder: Path, checks: str, *, contract: str = CONTRACT, documented: bool = True) -> Repository:
        """With ``documented`` each check gets the docstring that the decorator requires."""
        head = "import pytest\nfrom parity.checks import check, not_judged, Env, Named\n"
        files = {
            "fly.toml": FLY,
            "parity.toml": PARITY,
            "contract.py": contract,
            "checks/test_own.py": head + (with_docstrings(dedent(checks)) if documented else dedent(checks)),
        }
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, "utf-8")
        return cls(folder)

    def check(self, *arguments: str) -> Ended:
        """`parity check ARGUMENTS checks/test_own.py`; without that file where an argument names a test."""
        junit = self.folder / "junit.xml"
        command = [sys.executable, "-m", "parity.cli.main", "--root", str(self.folder), "check"]
        files = [] if any("::" in word for word in arguments) else [str(self.folder / "checks/test_own.py")]
        command += [f"--junit={junit}", *arguments, *files]
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("PARITY_", "PYTEST_"))}
        environ["PARITY_DRIVER"] = "process"
        environ["PYTHONPATH"] = str(Path(__file__).parents[3] / "src")
        done = subprocess.run(
            command, env=environ, cwd=self.folder, capture_output=True, text=True, timeout=500, check=False
        )
        last = self.folder / ".parity" / "checks" / "last.json"
        suite = ElementTree.parse(junit).getroot().find("testsuite") if junit.exists() else None
        counts = {} if suite is None else {name: int(suite.get(name, 0)) for name in COUNTED}
        return Ended(done.returncode, done.stdout + done.stderr, Findings.read(last) if last.exists() else None, counts)


COUNTED = ("tests", "failures", "errors", "skipped")
