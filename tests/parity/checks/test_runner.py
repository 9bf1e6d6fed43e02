from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from playwright.async_api import Error as BrowserError

from parity.checks.kit.tools import Tools
from parity.checks.model import Broken, Check, Env, Need, ProductFault, Unobservable
from parity.checks.registry import CHECKS
from parity.checks.runner import Facilities, Suite, observed, select
from parity.report.results import Outcome, Result
from parity.stack.target import Target

LOCAL = Target(
    "local", "https://localhost:1", "http://localhost:2", "https://app.example", "", "", None, None, "process"
)
LIVE = Target(
    "staging", "https://api.example", "https://app.example", "https://app.example", "", "", None, None, "live"
)
EVERYTHING = Facilities("/usr/bin/chromium", "/usr/bin", True)


def check(
    observe: Any = None, *, needs: frozenset[Need] = frozenset(), live_safe: bool = False, deadline_s: float = 5
) -> Check[Any]:
    async def nothing(_tools: Tools) -> list[str]:
        return []

    return Check(
        "sample", "A sample", "A", observe or nothing, list, Broken("x", Env({})), needs, live_safe, deadline_s
    )


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ProductFault("wrong"), Outcome.FAILED),
        (Unobservable("no admin"), Outcome.ERROR),
        (httpx.ConnectError("refused"), Outcome.ERROR),
        (BrowserError("crashed"), Outcome.ERROR),
    ],
)
async def test_how_an_observation_ends_decides_between_failed_and_error(
    tools_for: Callable[[Any], Any], error: Exception, outcome: Outcome
) -> None:
    async def observe(_tools: Tools) -> None:
        raise error

    async with tools_for(None) as tools:
        assert (await observed(check(observe), tools))[0] is outcome


async def test_an_observation_past_its_deadline_is_no_pass(tools_for: Callable[[Any], Any]) -> None:
    import asyncio

    async def observe(_tools: Tools) -> None:
        await asyncio.Event().wait()

    async with tools_for(None) as tools:
        assert await observed(check(observe, deadline_s=0.01), tools) == (
            Outcome.ERROR,
            ["the check's deadline passed"],
        )


async def test_a_judgements_reasons_fail_the_check(tools_for: Callable[[Any], Any]) -> None:
    async def observe(_tools: Tools) -> list[str]:
        return ["it is wrong"]

    async with tools_for(None) as tools:
        assert await observed(check(observe), tools) == (Outcome.FAILED, ["it is wrong"])


@pytest.mark.parametrize("need", [Need.ADMIN, Need.IMAGE])
def test_what_the_target_cannot_show_is_skipped_with_its_reason(need: Need) -> None:
    assert EVERYTHING.missing(check(needs=frozenset({need})), LOCAL) == [need.value]


@pytest.mark.parametrize("need", [Need.BROWSER, Need.FFMPEG, Need.ENGINE])
def test_what_the_machine_lacks_is_skipped_with_its_reason(need: Need) -> None:
    nothing = Facilities(None, None, False)
    assert nothing.missing(check(needs=frozenset({need})), LOCAL) == [need.value]


def test_a_deployed_app_meets_only_live_safe_checks() -> None:
    assert EVERYTHING.missing(check(), LIVE) == ["not safe against a deployed app"]
    assert EVERYTHING.missing(check(live_safe=True), LIVE) == []


def test_no_live_safe_check_needs_the_admin_api() -> None:
    assert [c.id for c in CHECKS if c.live_safe and Need.ADMIN in c.needs] == []
    assert [c.id for c in CHECKS if c.live_safe]


def test_every_check_has_its_own_id_a_capability_and_a_broken_variant() -> None:
    ids = [c.id for c in CHECKS]
    assert len(set(ids)) == len(ids)
    assert all(c.capability in "ABCDEFGHIJKLM" and len(c.capability) == 1 for c in CHECKS)
    assert all(c.broken.title for c in CHECKS)


def test_an_unknown_id_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no check nonsense; there are .*cors-preflight"):
        select(CHECKS, ["nonsense"])


def test_checks_run_in_the_registrys_order_whatever_was_named_first() -> None:
    wanted = [CHECKS[1].id, CHECKS[0].id]
    assert [c.id for c in select(CHECKS, wanted)] == [CHECKS[0].id, CHECKS[1].id]


async def test_a_failure_leaves_a_folder_with_reasons_and_requests(tmp_path: Path) -> None:
    async def observe(tools: Tools) -> list[str]:
        tools.recorder.exchanges.append({"url": "https://api.example/x"})
        return ["it is wrong"]

    class Project:
        class settings:  # the shape of the real one
            state_dir = tmp_path

    said: list[Result] = []
    suite = Suite(cast(Any, Project()), LOCAL, EVERYTHING, [check()], said.append)
    run = await suite.run([check(observe)], prove=True, tools={})
    folder = run.results[0].evidence
    assert folder == tmp_path / "failures" / "sample"
    assert (folder / "reasons.txt").read_text() == "it is wrong\n"
    assert json.loads((folder / "requests.json").read_text()) == [{"url": "https://api.example/x"}]
    assert said == run.results
    assert not run.ok


def test_the_documented_table_has_every_check() -> None:
    documented = (Path(__file__).parents[3] / "docs" / "checks.md").read_text()
    rows = [line for line in documented.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [c.id for c in CHECKS]
    for entry, row in zip(CHECKS, rows, strict=True):
        assert entry.title in row
        assert entry.broken.title in row
        assert row.split("|")[5].strip() == ("yes" if entry.live_safe else "–")
