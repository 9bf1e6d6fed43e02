"""The folder that a failure leaves: what was asked, what the parts say, what the bucket holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from parity.checks.kit.admin import Admin
from parity.checks.kit.browser import Notes
from parity.checks.kit.http import Recorder
from parity.checks.model import Unobservable

# File name → admin path. Machines' logs are fetched for each Machine.
ADMIN_VIEWS = {
    "machines.json": "/fly/machines",
    "release.json": "/fly/release",
    "edge-requests.json": "/fly/requests",
    "r2-requests.json": "/r2/requests",
    "r2-faults.json": "/r2/faults",
    "bucket.json": "/r2/objects",
    "modal-calls.json": "/modal/calls",
    "modal-apps.json": "/modal/apps",
}


async def leave(folder: Path, reasons: list[str], recorder: Recorder, notes: Notes, admin: Admin | None) -> Path:
    """Write everything that can be had into ``folder``, in place of what an earlier run left there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "reasons.txt").write_text("".join(f"{reason}\n" for reason in reasons), "utf-8")
    _write(folder / "requests.json", recorder.exchanges)
    if notes.console or notes.failed:
        _write(folder / "browser.json", {"console": notes.console, "failed_requests": notes.failed})
    if notes.screenshot:
        (folder / "screenshot.png").write_bytes(notes.screenshot)
    if admin is not None:
        await _views(folder, admin)
    return folder


async def _views(folder: Path, admin: Admin) -> None:
    views = dict(ADMIN_VIEWS)
    try:
        views |= {f"machine-{m['id']}.log.json": f"/fly/machines/{m['id']}/logs" for m in await admin.machines()}
    except Unobservable as error:
        (folder / "machines.error").write_text(str(error), "utf-8")
    for name, path in views.items():
        try:
            _write(folder / name, await admin.call("GET", path))
        except Unobservable as error:
            (folder / f"{name}.error").write_text(str(error), "utf-8")


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
