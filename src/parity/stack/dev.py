"""`parity dev` on a running stack: Machines run the working tree, or the built image again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parity.stack.admin_client import ask
from parity.stack.errors import NotRunning

NOT_THE_IMAGE = "Machines run the working tree, NOT the image that would ship"
BACK = "`parity up` puts the exact image back"


def enter_dev(admin_url: str, *, debug: bool = False) -> dict[str, Any]:
    """Make the Machines run the working tree. Returns what ``GET /fly/dev`` shows. Raises ``StackError``."""
    shown: dict[str, Any] = ask(admin_url, "PUT", "/fly/dev", {"on": True, "debug": debug})
    return shown


def leave_dev(admin_url: str, say: Callable[[str], None]) -> bool:
    """If the Machines run the working tree, make them run the built image again. Returns whether they did.

    Raises ``StackError`` if the image does not become healthy.
    """
    try:
        shown = ask(admin_url, "GET", "/fly/dev")
    except NotRunning:
        return False
    if shown["on"]:
        say("Machines ran the working tree (parity dev): they are replaced by the image")
        ask(admin_url, "PUT", "/fly/dev", {"on": False})
    return bool(shown["on"])


def dev_lines(shown: dict[str, Any]) -> list[str]:
    """The lines of `parity status` about ``GET /fly/dev``; none if development mode is off."""
    if not shown["on"]:
        return []
    lines = [f"{NOT_THE_IMAGE} ({', '.join(shown['sources'])}); {BACK}"]
    if shown["debug"]:
        lines.append("a debugger can attach to a Machine and to GPU functions; no limit passes while one is attached")
    if shown["changed"]:
        took = f", answering after {shown['seconds']} s" if shown["seconds"] else ""
        lines.append(f"last change: {', '.join(shown['changed'])}{took}")
    for problem in (shown["problem"], shown["functions_problem"]):
        lines += problem.splitlines()
    return lines
