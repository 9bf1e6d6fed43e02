"""The receipt: what was checked, how it ended; and whether it still speaks for what is about to be deployed."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from parity.config.errors import ConfigError
from parity.report.identity import Identity
from parity.report.ran import Ran, RanImage

FORMAT = 2
RUN_CHECKS = "commit, then: make up && make check (with a Docker engine)"
# Verdicts (parity.report.findings). What the contract does not declare is the app's decision.
ACCEPTED = ("passed", "not declared")
NOT_SHOWN = "not shown"


@dataclass(frozen=True)
class ReceiptResult:
    """One check as the receipt remembers it. ``outcome`` is a verdict: passed, failed, error, not
    declared, not judged or not shown.

    ``caught`` says whether the check noticed its broken variant; None: that was not tried.
    """

    id: str
    title: str
    capability: str
    outcome: str
    reasons: tuple[str, ...] = ()
    seconds: float = 0.0
    caught: bool | None = None


@dataclass(frozen=True)
class Receipt:
    """One run of the checks. ``known`` is every check there is, so that a partial run shows by it.

    ``ran`` is what the Machines ran during the run, as the Fly stand-in recorded it.
    """

    target: str
    driver: str
    created_at: str
    identity: Identity
    ran: Ran
    tools: Mapping[str, str]
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


def write_receipt(
    path: Path,
    *,
    target: str,
    driver: str,
    identity: Identity,
    ran: Ran,
    results: Sequence[ReceiptResult],
    known: Sequence[str],
    tools: Mapping[str, str],
    now: datetime | None = None,
) -> None:
    """Write the receipt of a run.

    ``identity`` is ``current_identity(project, ran)``, ``ran`` is ``images_that_ran(admin_url, since)``.
    """
    created = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    receipt = Receipt(target, driver, created, identity, ran, dict(tools), tuple(known), tuple(results))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"format": FORMAT, **asdict(receipt)}, indent=2) + "\n", "utf-8")


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
        raise ConfigError(
            str(path), f"the receipt lacks a field or has a wrong value: {error}", fix=RUN_CHECKS
        ) from None


def _receipt(data: dict[str, Any]) -> Receipt:
    fields = {name: value for name, value in data.items() if name != "format"}
    images = tuple(RanImage(**image) for image in fields["ran"]["images"])
    return Receipt(
        **fields
        | {
            "identity": Identity(**fields["identity"]),
            "ran": Ran(images, fields["ran"]["checkout"]),
            "known": tuple(fields["known"]),
            "results": tuple(
                ReceiptResult(**{**result, "reasons": tuple(result["reasons"])}) for result in fields["results"]
            ),
        }
    )


def mismatches(receipt: Receipt, now: Identity, root: Path, *, allow_skipped: Collection[str] = ()) -> list[Mismatch]:
    """Why the receipt does not prove that ``now``, the state of the checkout, was checked; empty if it does."""
    return [*_of_run(receipt, allow_skipped), *_of_ran(receipt.ran, now, root), *_of_identity(receipt.identity, now)]


def _of_run(receipt: Receipt, allow_skipped: Collection[str]) -> list[Mismatch]:
    found = []
    if receipt.driver != "docker":
        ran = f"the checks ran on the {receipt.driver} stack"
        found.append(Mismatch("driver", ran, "only docker runs the image", RUN_CHECKS))
    seen = {result.id for result in receipt.results}
    for missing in sorted(set(receipt.known) - seen):
        found.append(Mismatch(f"check {missing}", "it was not run", "every check must have been run", RUN_CHECKS))
    for result in receipt.results:
        if result.outcome == NOT_SHOWN and result.id in allow_skipped:
            continue
        if result.outcome not in ACCEPTED:
            why = "; ".join(result.reasons) or "no reason given"
            to_do = f"make it pass, then {RUN_CHECKS}"
            if result.outcome == NOT_SHOWN:
                to_do = f"provide what it needs, or pass --allow-skipped {result.id}"
            found.append(Mismatch(f"check {result.id}", f"{result.outcome} ({why})", "it must have passed", to_do))
        if result.caught is False:
            missed = "it did not notice its broken variant"
            found.append(
                Mismatch(f"check {result.id}", missed, "it must fail on its broken variant", "correct the check")
            )
    return found


def _of_ran(ran: Ran, now: Identity, root: Path) -> list[Mismatch]:
    """The Machines must have run exactly one image, built from this commit, in this checkout's stack."""
    found = []
    if not ran.tested:
        found.append(
            Mismatch("image", "no Machine is known to have run one", "exactly one image must have run", RUN_CHECKS)
        )
    if len(ran.tested) > 1:
        digests = ", ".join(f"{image.digest} (commit {image.commit or 'unknown'})" for image in ran.tested)
        to_do = "do not build or release while the checks run, then run make check again"
        found.append(
            Mismatch("image", f"Machines ran {digests} during the checks", "exactly one image must have run", to_do)
        )
    if ran.dev:
        found.append(
            Mismatch("image", "the working tree was mounted over it (parity dev)", "only the image", RUN_CHECKS)
        )
    for image in ran.tested:
        if image.commit != now.commit or not now.commit:
            built = f"the image that ran was built from {image.commit or 'an unknown commit'}"
            found.append(Mismatch("image commit", built, f"here is {now.commit or 'no commit'}", RUN_CHECKS))
    if not ran.checkout or Path(ran.checkout).resolve() != root.resolve():
        where = f"the stack was started from {ran.checkout or 'an unknown folder'}"
        found.append(Mismatch("checkout", where, f"this one is {root}", RUN_CHECKS))
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
            found.append(Mismatch(f"working tree ({who})", f"it {state}", "every change must be committed", RUN_CHECKS))
    for name in sorted(then.hashes.keys() | now.hashes.keys()):
        if then.hashes.get(name) != now.hashes.get(name):
            found.append(_differs(name, then.hashes.get(name, ""), now.hashes.get(name, "")))
    return found


def _differs(field: str, then: str, now: str) -> Mismatch:
    return Mismatch(field, f"the receipt is for {then or 'none'}", f"here is {now or 'none'}", RUN_CHECKS)
