"""`parity dev` on a stack that is up: Machines of the working tree, and of the exact image again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parity.stack.admin_client import ask
from parity.stack.errors import NotRunning

NOT_THE_IMAGE = "Machines run the working tree, NOT the image that would ship"
BACK = "`parity up` puts the exact image back"


def enter_dev(admin_url: str) -> dict[str, Any]:
    """Let the Machines run the working tree; what ``GET /fly/dev`` shows then. Raises ``StackError``."""
    shown: dict[str, Any] = ask(admin_url, "PUT", "/fly/dev", {"on": True})
    return shown


def leave_dev(admin_url: str, say: Callable[[str], None]) -> None:
    """Put the exact image back, where Machines run the working tree. Raises ``StackError`` when it is not healthy."""
    try:
        shown = ask(admin_url, "GET", "/fly/dev")
    except NotRunning:
        return
    if shown["on"]:
        say("Machines ran the working tree (parity dev): they are replaced by the image")
        ask(admin_url, "PUT", "/fly/dev", {"on": False})


def dev_lines(shown: dict[str, Any]) -> list[str]:
    """What `parity status` says of ``GET /fly/dev``; nothing where it is off."""
    if not shown["on"]:
        return []
    lines = [f"{NOT_THE_IMAGE} ({', '.join(shown['sources'])}); {BACK}"]
    if shown["changed"]:
        took = f", answering after {shown['seconds']} s" if shown["seconds"] else ""
        lines.append(f"last change: {', '.join(shown['changed'])}{took}")
    for problem in (shown["problem"], shown["functions_problem"]):
        lines += problem.splitlines()
    return lines
