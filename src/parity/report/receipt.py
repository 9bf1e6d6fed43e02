"""The receipt: what was checked, how it ended; and whether it still speaks for what is about to be deployed."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from parity.config.errors import ConfigError
from parity.report.identity import Identity
from parity.report.results import Outcome, Run

FORMAT = 1
RUN_CHECKS = "commit, then: make up && make check (with a Docker engine)"


@dataclass(frozen=True)
class ReceiptResult:
    """One check as the receipt remembers it."""

    id: str
    outcome: str
    reasons: tuple[str, ...]
    caught: bool | None


@dataclass(frozen=True)
class Receipt:
    """A receipt as read from its file."""

    target: str
    driver: str
    created_at: str
    identity: Identity
    known: tuple[str, ...]
    results: tuple[ReceiptResult, ...]


@dataclass(frozen=True)
class Mismatch:
    """Why a receipt does not speak for what is here: the field, what was found, what it should be, what to do."""

    field: str
    found: str
    wanted: str
    to_do: str

    def __str__(self) -> str:
        return f"{self.field}: {self.found}; {self.wanted}\n  to do: {self.to_do}"


def receipt_json(run: Run, identity: Identity, now: datetime | None = None) -> str:
    """The receipt of ``run`` as text."""
    created = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    results = [
        {
            "id": result.id,
            "title": result.title,
            "capability": result.capability,
            "outcome": str(result.outcome),
            "reasons": list(result.reasons),
            "seconds": round(result.seconds, 3),
            "caught": result.proof.caught if result.proof else None,
            "variant": result.proof.variant if result.proof else None,
        }
        for result in run.results
    ]
    body = {
        "format": FORMAT,
        "created_at": created,
        "target": run.target,
        "driver": run.driver,
        "identity": identity.as_json(),
        "tools": run.tools,
        "known": list(run.known),
        "results": results,
    }
    return json.dumps(body, indent=2) + "\n"


def read_receipt(path: Path) -> Receipt:
    """Read a receipt. Raises ``ConfigError`` when there is none or it is not one."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(str(path), "there is no receipt of the checks", fix=RUN_CHECKS) from None
    except ValueError as error:
        raise ConfigError(str(path), f"not a receipt: {error}", fix=RUN_CHECKS) from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        given = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise ConfigError(str(path), f"a receipt of another format ({given!r})", f"format {FORMAT}", RUN_CHECKS)
    try:
        return _receipt(data)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(str(path), f"the receipt lacks or garbles {error}", fix=RUN_CHECKS) from None


def _receipt(data: dict[str, Any]) -> Receipt:
    identity = Identity(**data["identity"])
    results = tuple(
        ReceiptResult(r["id"], Outcome(r["outcome"]), tuple(r["reasons"]), r["caught"]) for r in data["results"]
    )
    return Receipt(data["target"], data["driver"], data["created_at"], identity, tuple(data["known"]), results)


def mismatches(receipt: Receipt, now: Identity, *, allow_skipped: Collection[str] = ()) -> list[Mismatch]:
    """Everything that keeps the receipt from speaking for ``now``; empty when it does."""
    return [*_of_run(receipt, allow_skipped), *_of_identity(receipt.identity, now)]


def _of_run(receipt: Receipt, allow_skipped: Collection[str]) -> list[Mismatch]:
    found = []
    if receipt.driver != "docker":
        ran = f"the checks ran on the {receipt.driver} stack"
        found.append(Mismatch("driver", ran, "only docker runs the image", RUN_CHECKS))
    seen = {result.id for result in receipt.results}
    for missing in sorted(set(receipt.known) - seen):
        found.append(Mismatch(f"check {missing}", "it was not run", "every check is wanted", RUN_CHECKS))
    for result in receipt.results:
        if result.outcome == Outcome.SKIPPED and result.id in allow_skipped:
            continue
        if result.outcome != Outcome.PASSED:
            why = "; ".join(result.reasons) or "no reason given"
            to_do = f"make it pass, then {RUN_CHECKS}"
            if result.outcome == Outcome.SKIPPED:
                to_do = f"provide what it needs, or pass --allow-skipped {result.id}"
            found.append(Mismatch(f"check {result.id}", f"{result.outcome} ({why})", "it must have passed", to_do))
        if result.caught is False:
            missed = "it did not notice its broken variant"
            found.append(Mismatch(f"check {result.id}", missed, "a check must", "mend the check"))
    return found


def _of_identity(then: Identity, now: Identity) -> list[Mismatch]:
    found = []
    if not now.image_digest:
        missing = f"the engine has no image {now.image}, or does not answer"
        found.append(Mismatch("image", missing, f"the receipt is for {then.image_digest or 'none'}", RUN_CHECKS))
    elif then.image_digest != now.image_digest:
        found.append(_differs("image", then.image_digest, now.image_digest))
    if not now.commit or then.commit != now.commit:
        found.append(_differs("commit", then.commit, now.commit))
    for who, dirty in (("checked", then.dirty), ("here", now.dirty)):
        if dirty is not False:
            state = "has uncommitted changes" if dirty else "is not known to be clean"
            found.append(Mismatch(f"working tree ({who})", f"it {state}", "a commit must name it all", RUN_CHECKS))
    for name in sorted(then.hashes.keys() | now.hashes.keys()):
        if then.hashes.get(name) != now.hashes.get(name):
            found.append(_differs(name, then.hashes.get(name, ""), now.hashes.get(name, "")))
    return found


def _differs(field: str, then: str, now: str) -> Mismatch:
    return Mismatch(field, f"the receipt is for {then or 'none'}", f"here is {now or 'none'}", RUN_CHECKS)
