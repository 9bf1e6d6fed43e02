"""Reads ``fly machine list --json`` and decides from it whether a deploy succeeded."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class UnreadableAnswer(Exception):
    """The output of a tool does not have the expected form, so the promotion cannot rely on it."""


@dataclass(frozen=True)
class Machine:
    """One Machine; ``checks`` maps a check's name to its status. ``image`` is ``registry/repository@digest``.

    ``config`` is its whole configuration, as the Machines API shows it.
    """

    id: str
    state: str
    image: str
    checks: dict[str, str]
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return self.image.rpartition("@")[2]

    @property
    def healthy(self) -> bool:
        return self.state == "started" and all(status == "passing" for status in self.checks.values())


def parse_machines(text: str) -> list[Machine]:
    """The Machines of the app, without destroyed ones. Raises ``UnreadableAnswer``, naming what is missing."""
    try:
        return [_machine(entry) for entry in json.loads(text) if entry["state"] not in ("destroyed", "destroying")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableAnswer(f"fly machine list --json: {error!r} in {text[:200]!r}") from None


def _machine(entry: dict[str, object]) -> Machine:
    ref = entry["image_ref"]
    assert isinstance(ref, dict)
    digest = ref.get("digest") or ""
    checks = entry.get("checks") or []
    assert isinstance(checks, list)
    image = f"{ref['registry']}/{ref['repository']}@{digest}"
    config = entry.get("config") or {}
    assert isinstance(config, dict)
    return Machine(str(entry["id"]), str(entry["state"]), image, {c["name"]: c["status"] for c in checks}, config)


def asleep(machines: Sequence[Machine]) -> list[str]:
    """Ids of Machines that a deploy would update without starting or checking them."""
    return [machine.id for machine in machines if machine.state in ("stopped", "suspended")]


def not_running(machines: Sequence[Machine], digest: str) -> list[str]:
    """One line for each Machine that does not run ``digest``. flyctl does not compare digests itself."""
    if not machines:
        return ["the app has no Machine"]
    return [f"{m.id} runs {m.digest or 'an unnamed image'}, not {digest}" for m in machines if m.digest != digest]


def not_healthy(machines: Sequence[Machine]) -> list[str]:
    """One line for each Machine that is not healthy. A Machine without checks is healthy if it is started."""
    return [
        f"{m.id} is {m.state}, checks: {', '.join(f'{n} {s}' for n, s in m.checks.items()) or 'none'}"
        for m in machines
        if not m.healthy
    ]


class AfterFailure(Enum):
    """The state of the Machines after a failed deploy."""

    UNTOUCHED = "every Machine still runs the image from before"
    ROLL_BACK = "some Machine was changed"
    NOTHING_BEFORE = "there is no earlier image to go back to"
    REPLACED = "another deploy has released another image meanwhile; it was left as it is"


def after_failed_deploy(
    machines: Sequence[Machine], previous: str | None, wanted_digest: str, others: Collection[str] = ()
) -> AfterFailure:
    """Whether a failed deploy needs a rollback.

    A deploy that found a Machine leased, or whose update was refused, changed nothing. A deploy that failed its health
    checks left the bad image running. ``others`` are digests that another promotion deployed; a rollback would remove
    its image, so there is none.
    """
    running = {machine.digest for machine in machines}
    if running & set(others) and wanted_digest not in running:
        return AfterFailure.REPLACED
    if previous is None:
        return AfterFailure.NOTHING_BEFORE
    before = previous.rpartition("@")[2]
    if before == wanted_digest:
        return AfterFailure.NOTHING_BEFORE
    if machines and all(m.digest == before and m.state in ("started", "stopped", "suspended") for m in machines):
        return AfterFailure.UNTOUCHED
    return AfterFailure.ROLL_BACK
