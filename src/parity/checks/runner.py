"""Runs checks against a target, proves them on their broken variants, keeps the evidence of failures."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import websockets
from playwright.async_api import Error as BrowserError

from parity.checks.kit import evidence, media
from parity.checks.kit.admin import Admin
from parity.checks.kit.browser import NetworkChanged, find_chromium
from parity.checks.kit.bucket import Bucket
from parity.checks.kit.http import Recorder, http
from parity.checks.kit.media import Media
from parity.checks.kit.stage import Stage
from parity.checks.kit.tools import Tools
from parity.checks.model import Check, Need, ProductFault, Unobservable
from parity.config.project import Project
from parity.report.engine import Engine
from parity.report.results import Outcome, Proof, Result, Run

if TYPE_CHECKING:
    from parity.stack.target import Target

# What an observation may end with besides an answer; anything else is a mistake of the suite and stops it.
EXPECTED_ERRORS = (
    Unobservable,
    httpx.HTTPError,
    websockets.WebSocketException,
    BrowserError,
    OSError,
    TimeoutError,
    json.JSONDecodeError,
    KeyError,
)
# How often a browser's observation is begun when containers come and go on the host.
NETWORK_CHANGES = 3
# The end of a broken variant is a release; it gets this long in all, in seconds.
PROOF_EXTRA_S = 700.0


@dataclass(frozen=True)
class Facilities:
    """What is there to observe with; a need that is missing is skipped with its reason."""

    chromium: str | None
    media_path: str | None
    engine: bool

    def missing(self, check: Check[Any], target: Target) -> list[str]:
        """Why ``check`` cannot be run against ``target``; empty when it can."""
        if target.driver == "live" and not check.live_safe:
            return ["not safe against a deployed app"]
        there = {
            Need.ADMIN: target.admin_url is not None,
            Need.IMAGE: target.driver == "docker",
            Need.ENGINE: self.engine,
            Need.BROWSER: self.chromium is not None,
            Need.FRONTEND_TLS: target.driver == "process" or target.frontend_url.startswith("https://"),
            Need.FFMPEG: self.media_path is not None,
        }
        return [need.value for need in Need if need in check.needs and not there[need]]


def find_facilities(project: Project, target: Target) -> Facilities:
    """Look once what this machine has."""
    engine = target.driver == "docker" and Engine().available
    return Facilities(find_chromium(), media.tools_path(project.settings), engine)


@dataclass(frozen=True)
class Suite:
    """One run. ``say`` gets each result as it comes; ``known`` is every check there is."""

    project: Project
    target: Target
    facilities: Facilities
    known: Sequence[Check[Any]]
    say: Callable[[Result], None]

    async def run(self, selected: Sequence[Check[Any]], *, prove: bool, tools: dict[str, str]) -> Run:
        """Run ``selected`` one after the other: they share Machines, so their order must not matter, their overlap
        would."""
        started = datetime.now(UTC)
        results = []
        for check in selected:
            result = await self._one(check, prove=prove)
            self.say(result)
            results.append(result)
        known = [check.id for check in self.known]
        return Run(self.target.name, self.target.driver, started, results, known, tools)

    async def _one(self, check: Check[Any], *, prove: bool) -> Result:
        missing = self.facilities.missing(check, self.target)
        base = Result(check.id, check.title, check.capability, Outcome.SKIPPED, tuple(missing))
        if missing:
            return base
        folder = self.project.settings.state_dir / "failures" / check.id
        began = time.monotonic()
        async with AsyncExitStack() as resources:
            tools = await self._tools(resources, folder)
            outcome, reasons = await observed(check, tools)
            kept = None
            if outcome is not Outcome.PASSED:
                kept = await evidence.leave(folder, reasons, tools.recorder, tools.notes, tools.admin_or_none)
            outcome, reasons = await swept(tools, outcome, reasons)
        result = replace(base, outcome=outcome, reasons=tuple(reasons), seconds=time.monotonic() - began, evidence=kept)
        if prove and outcome is Outcome.PASSED:
            return replace(result, proof=await self._proof(check, folder))
        return result

    async def _proof(self, check: Check[Any], folder: Path) -> Proof:
        """Put the broken variant in place and run the same observation and judgement."""
        variant, began = check.broken.title, time.monotonic()
        async with AsyncExitStack() as resources:
            tools = await self._tools(resources, folder)
            if tools.stage_or_none is None:
                return Proof(variant, None, ("a deployed app is not broken on purpose",))
            try:
                async with asyncio.timeout(PROOF_EXTRA_S), tools.stage.applied(check.broken.change):
                    outcome, reasons = await observed(check, tools)
                outcome, reasons = await swept(tools, outcome, reasons)
            except EXPECTED_ERRORS as error:
                return Proof(variant, None, (describe(error),), time.monotonic() - began)
        if outcome is Outcome.ERROR:
            return Proof(variant, None, tuple(reasons), time.monotonic() - began)
        return Proof(variant, outcome is Outcome.FAILED, tuple(reasons), time.monotonic() - began)

    async def _tools(self, resources: AsyncExitStack, folder: Path) -> Tools:
        recorder = Recorder()
        client = await resources.enter_async_context(http(self.target.api_url, self.target.ca, recorder))
        admin = Admin(self.target.admin_url, client) if self.target.admin_url else None
        found = self.facilities
        return Tools(
            target=self.target,
            project=self.project,
            http=client,
            recorder=recorder,
            folder=folder,
            admin_or_none=admin,
            stage_or_none=Stage(self.project, self.target, admin) if admin else None,
            bucket_or_none=Bucket(self.project, self.target) if admin else None,
            media_or_none=Media(found.media_path, self.project.settings.state_dir / "media")
            if found.media_path
            else None,
            chromium=found.chromium,
        )


async def swept(tools: Tools, outcome: Outcome, reasons: list[str]) -> tuple[Outcome, list[str]]:
    """The outcome once the bucket is as it was before; what cannot be removed is no pass."""
    try:
        await tools.sweep()
    except EXPECTED_ERRORS as error:
        left = [*reasons, f"what the check stored could not be removed: {describe(error)}"]
        return (Outcome.ERROR if outcome is Outcome.PASSED else outcome), left
    return outcome, reasons


async def observed(check: Check[Any], tools: Tools) -> tuple[Outcome, list[str]]:
    """One observation, judged; made again only when the host's network changed under the browser."""
    for _ in range(NETWORK_CHANGES):
        try:
            return await _observed_once(check, tools)
        except NetworkChanged:
            tools.notes.console.clear()
            tools.notes.failed.clear()
    return Outcome.ERROR, [f"the host's network changed {NETWORK_CHANGES} times while the browser ran"]


async def _observed_once(check: Check[Any], tools: Tools) -> tuple[Outcome, list[str]]:
    try:
        async with asyncio.timeout(check.deadline_s):
            observation = await check.observe(tools)
    except NetworkChanged:
        raise
    except ProductFault as fault:
        return Outcome.FAILED, [str(fault)]
    except EXPECTED_ERRORS as error:
        return Outcome.ERROR, [describe(error)]
    reasons = check.judge(observation)
    return (Outcome.FAILED, reasons) if reasons else (Outcome.PASSED, [])


def describe(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "the check's deadline passed"
    return str(error) if isinstance(error, Unobservable) else f"{type(error).__name__}: {error}"


def select(known: Sequence[Check[Any]], only: Collection[str]) -> list[Check[Any]]:
    """The checks with these ids, in the registry's order; all for none. Raises ``ValueError`` for an unknown id."""
    unknown = sorted(set(only) - {check.id for check in known})
    if unknown:
        raise ValueError(f"no check {', '.join(unknown)}; there are {', '.join(check.id for check in known)}")
    return [check for check in known if not only or check.id in only]
