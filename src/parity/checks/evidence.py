"""Writes the evidence of a failed check: the reason, requests and answers, and the state of every part of the stack."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from parity.checks.browser import Notes
from parity.checks.secrecy import cleaned, without_credentials
from parity.checks.stack import Stack, StackError

# The file of each view, and its path in the admin API.
VIEWS = {
    "machines.json": "/fly/machines",
    "groups.json": "/fly/groups",
    "release.json": "/fly/release",
    "edge-requests.json": "/fly/requests",
    "r2-requests.json": "/r2/requests?limit=500",
    "r2-faults.json": "/r2/faults",
    "bucket.json": "/r2/objects",
    "modal-calls.json": "/modal/calls",
    "modal-apps.json": "/modal/apps",
}


def leave_reason(folder: Path, reason: str) -> None:
    """Write only the reason, for a check that does not use the stack. Replaces the evidence of an earlier run."""
    forget(folder)
    folder.mkdir(parents=True)
    (folder / "reason.txt").write_text(reason + "\n", "utf-8")


def forget(folder: Path) -> None:
    """Delete the evidence that an earlier run left."""
    shutil.rmtree(folder, ignore_errors=True)


async def leave(folder: Path, reason: str, stack: Stack, notes: Notes, secrets: Collection[str]) -> None:
    """Write all available evidence into ``folder``, and delete that of an earlier run.

    The logs include those of Machines that the check destroyed. Credentials are replaced. A view that cannot be read is
    named in ``not-available.txt``.
    """
    forget(folder)
    folder.mkdir(parents=True)
    found: dict[str, Any] = {"requests.json": stack.said}
    problems = []
    if stack.target.admin_url is not None:
        for name, path in VIEWS.items():
            try:
                found[name] = await stack.admin("GET", path, timeout_s=10)
            except StackError as error:
                problems.append(f"{name}: {error}")
        for machine in (*found.get("machines.json", ()), *found.get("groups.json", ())):
            try:
                answer = await stack.admin("GET", f"/fly/machines/{machine['id']}/logs", timeout_s=10)
                stack.logs[machine["id"]] = answer["lines"]
            except StackError as error:
                problems.append(f"log of {machine['id']}: {error}")
    texts = {"reason.txt": reason + "\n"}
    for name, content in found.items():
        texts[name] = json.dumps(cleaned(content, secrets), indent=1, ensure_ascii=False) + "\n"
    texts |= {f"machine-{machine}.log": "\n".join(lines) + "\n" for machine, lines in stack.logs.items()}
    if notes.console or notes.failed:
        texts["browser.txt"] = "\n".join([*notes.console, *notes.failed]) + "\n"
    if notes.screenshot:
        (folder / "screenshot.png").write_bytes(notes.screenshot)
    if problems:
        texts["not-available.txt"] = "\n".join(problems) + "\n"
    for name, text in texts.items():
        (folder / name).write_text(without_credentials(text, secrets), "utf-8")
