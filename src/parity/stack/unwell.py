"""Why Machines do not become healthy: how the health check is answered, how the process ended, and what to do."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from parity.stack.admin_client import ask
from parity.stack.errors import StackError

# Seconds from one look at Machines that are still starting to the next. Most are healthy before the first.
LOOK_S = 10.0
LINES, LINES_MEANWHILE = 25, 5
LONGEST = 160
# A check's output where the app answered: the status, then the start of the body.
_ANSWERED = re.compile(r"(\d{3}): ?(.*)", re.DOTALL)


def _advice(status: int) -> str:
    """What to do about a health check that is answered with this status."""
    if status == 400:
        return (
            "Fly sends the Machine's own address as Host. Many frameworks refuse a Host that they do not know (Django:"
            " ALLOWED_HOSTS, Starlette: TrustedHostMiddleware): accept any at this path, or set headers.Host of the"
            " check in fly.toml"
        )
    if 300 <= status < 400:
        return (
            "Only 2xx passes, and no redirect is followed. The check comes by plain HTTP without X-Forwarded-Proto:"
            " exempt its path from the redirect to https, and write it as the route has it, with or without a slash"
        )
    if status in (401, 403):
        return "The check signs in nowhere: let its path answer without credentials"
    if status in (404, 405):
        return "The app has no such route: correct path and method of the check in fly.toml"
    return "The app's log says why"


def cause(machine: Mapping[str, Any]) -> str:
    """Why this Machine (of ``GET /fly/machines``) is not healthy, in a sentence; empty while nothing is known."""
    if machine.get("healthy"):
        return ""
    outputs = [str(one["output"]) for one in machine.get("checks", ()) if one["status"] != "passing" and one["output"]]
    answered = next((found for output in outputs if (found := _ANSWERED.match(output))), None)
    if answered:
        status, body = int(answered[1]), answered[2].strip()
        first = (body.splitlines() or ["an empty body"])[0][:LONGEST]
        return f"its health check is answered {status}: {first}. {_advice(status)}"
    crashes = [event for event in machine.get("events", ()) if event.get("crashed")]
    if crashes:
        memory = ", out of memory" if crashes[-1].get("oom_killed") else ""
        return (
            f"its process ended {len(crashes)} time{'s' if len(crashes) > 1 else ''}, last with exit code"
            f" {crashes[-1].get('exit_code')}{memory}. Its log says why; often a variable, a secret or a package is"
            " missing"
        )
    if machine.get("port") == "closed":
        return "nothing listens on its internal_port of fly.toml: listen there, on every address (0.0.0.0 or ::)"
    return f"its health check gets no answer: {outputs[0][:LONGEST]}" if outputs else ""


def unwell_machines(base_url: str, lines: int = LINES) -> list[str]:
    """For each Machine that does not pass its checks, also for one that has ended: why, and its last log lines.

    An empty list if the stand-in does not answer.
    """
    try:
        unwell = [one for one in ask(base_url, "GET", "/fly/machines") if not one.get("healthy")]
        logs = {one["id"]: ask(base_url, "GET", f"/fly/machines/{one['id']}/logs?tail={lines}") for one in unwell}
    except StackError:
        return []
    found = []
    for one in unwell:
        why = cause(one)
        found += ["", *([f"Machine {one['id']} is not healthy: {why}"] if why else [])]
        last = logs[one["id"]]["lines"]
        found += [f"last lines of Machine {one['id']}, the app:", *(last or ["(it has printed nothing)"])]
    return found


@contextmanager
def watched(base_url: str, say: Callable[[str], None], every_s: float = LOOK_S) -> Iterator[None]:
    """Inside the block, tell every ``every_s`` seconds why Machines are not healthy, where that is known and new.

    What differs only in numbers (ports, times, how often) is not new.
    """
    done = threading.Event()

    def look() -> None:
        told = ""
        while not done.wait(every_s):
            found = unwell_machines(base_url, LINES_MEANWHILE)
            without_numbers = re.sub(r"\d+", "", "\n".join(found))
            if without_numbers != told and " is not healthy: " in without_numbers:
                for line in found:
                    say(line)
            told = without_numbers

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(LOOK_S)  # an answer of the stand-in may be late
