"""Writes whose fate is kept: what was answered, what is shown in the end."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import httpx

from parity.checks.kit.machines import Patience
from parity.checks.product.caller import Caller

POLL_S = 0.1
# What an answer carries of its body, for people.
BODY_SHOWN = 150


@dataclass(frozen=True)
class Write:
    """One answer to "add ``name``"; ``status`` 0: none came, ``detail`` says why."""

    where: str
    name: str
    status: int
    sync_status: str
    retry_after: str
    detail: str
    seconds: float

    @property
    def accepted(self) -> bool:
        return self.status == 201

    @property
    def refused_as_conflict(self) -> bool:
        return (self.status, self.sync_status) == (503, "conflict") and bool(self.retry_after)

    @property
    def said(self) -> str:
        told = f"X-Sync-Status {self.sync_status or 'absent'}, Retry-After {self.retry_after or 'absent'}"
        return f"{self.status or 'no answer'} ({told}) {self.detail}".rstrip()


def new_name(where: str) -> str:
    return f"{where} {secrets.token_hex(4)}"


async def write(caller: Caller, where: str, name: str) -> Write:
    """Add a reel called ``name``: one row, told once or not at all."""
    patience = Patience(0)
    try:
        answer = await caller.ask("POST", "/api/projects", {"name": name})
    except httpx.HTTPError as error:
        return Write(where, name, 0, "", "", repr(error), patience.spent)
    return Write(
        where=where,
        name=name,
        status=answer.status_code,
        sync_status=answer.headers.get("x-sync-status", ""),
        retry_after=answer.headers.get("retry-after", ""),
        detail="" if answer.is_success else answer.text[:BODY_SHOWN],
        seconds=patience.spent,
    )


@dataclass(frozen=True)
class Listed:
    """The names that one Machine shows; empty with ``problem`` where it shows none."""

    where: str
    names: Sequence[str]
    problem: str = ""


async def listed(caller: Caller, where: str) -> Listed:
    answer = await caller.ask("GET", "/api/projects")
    if not answer.is_success:
        return Listed(where, (), f"{answer.status_code} {answer.text[:BODY_SHOWN]}")
    return Listed(where, [project["name"] for project in answer.json()["projects"]])


async def listed_in_time(caller: Caller, where: str, wanted: Collection[str], seconds: float) -> Listed:
    """What it shows as soon as all that is wanted is among it, else at the end of ``seconds``."""
    patience = Patience(seconds)
    while True:
        found = await listed(caller, where)
        if set(wanted) <= set(found.names) or patience.over:
            return found
        await asyncio.sleep(POLL_S)


def judge_shown(accepted: Collection[str], lists: Iterable[Listed]) -> list[str]:
    """Every accepted name stands once in each list."""
    reasons = []
    for found in lists:
        if found.problem:
            reasons.append(f"{found.where} cannot list what was written: {found.problem}")
            continue
        counts = Counter(found.names)
        lost = [name for name in accepted if name not in counts]
        if lost:
            reasons.append(
                f"{found.where} does not show {len(lost)} of {len(accepted)} acknowledged writes: {some(lost)}"
            )
        twice = [name for name in accepted if counts[name] > 1]
        if twice:
            reasons.append(f"{found.where} shows what was written once more than once: {some(twice)}")
    return reasons


def judge_answers(writes: Iterable[Write], allowed: Callable[[Write], bool], expected: str) -> list[str]:
    """One reason for each kind of answer that is not allowed, with how often it came."""
    wrong = Counter((one.where, one.said) for one in writes if not allowed(one))
    reasons = [f"{where} answered {said}, expected {expected} ({times} ×)" for (where, said), times in wrong.items()]
    unsynced = Counter((one.where, one.sync_status) for one in writes if one.accepted and one.sync_status != "synced")
    return reasons + [
        f"{where} acknowledged with X-Sync-Status {status or 'absent'}, not synced ({times} ×)"
        for (where, status), times in unsynced.items()
    ]


def some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
