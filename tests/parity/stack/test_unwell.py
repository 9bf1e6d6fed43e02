"""What the user is told about a Machine that does not become healthy: while a start waits for it, and at the end."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

from parity.stack import unwell
from parity.stack.errors import NotRunning


def machine(output: str = "", **more: Any) -> dict[str, Any]:
    checks = [{"name": "servicecheck-00-http-8080", "status": "critical", "output": output}]
    return {"id": "m1", "healthy": False, "state": "started", "port": "open", "checks": checks, "events": [], **more}


CRASH = {"type": "exit", "crashed": True, "exit_code": 3}


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (machine("400: \n<!doctype html>\n<title>Bad Request"), "answered 400: <!doctype html>. Fly sends .*ALLOWED_"),
        (machine("301: "), "answered 301: an empty body. Only 2xx passes, .* redirect to https"),
        (machine('401: {"detail": "sign in"}'), 'answered 401: {"detail": "sign in"}. .* without credentials'),
        (machine("404: Not Found"), "answered 404: Not Found. .* correct path and method"),
        (machine("500: Internal Server Error"), "answered 500: Internal Server Error. The app's log says why"),
        (machine("", events=[CRASH], state="stopped"), "its process ended 1 time, last with exit code 3. "),
        (machine("ConnectionRefusedError: x", events=[CRASH, CRASH]), "its process ended 2 times, "),
        (machine("", events=[{**CRASH, "oom_killed": True}]), "exit code 3, out of memory"),
        (machine("", port="closed"), "nothing listens on its internal_port"),
        (machine("no answer within 2 s"), "its health check gets no answer: no answer within 2 s"),
        (machine(""), "^$"),
        (machine("404: x", healthy=True), "^$"),
    ],
)
def test_the_cause_is_what_was_seen_last(seen: dict[str, Any], said: str) -> None:
    assert re.search(said, unwell.cause(seen)), unwell.cause(seen)


def test_a_cause_is_told_once_while_the_start_waits_and_again_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = ["", "404: Not Found", "404: Not Found", "503: later"]
    logs = [["took 1 ms"], ["took 2 ms"], ["took 3 ms"], ["took 4 ms"]]
    asked = threading.Event()

    def ask(_url: str, _method: str, path: str) -> Any:
        if path.endswith("/logs?tail=5"):
            return {"lines": logs.pop(0)}
        if not outputs:
            asked.set()
            raise NotRunning("nothing answers")
        return [machine(outputs.pop(0))]

    monkeypatch.setattr(unwell, "ask", ask)
    told: list[str] = []
    with unwell.watched("http://admin", told.append, 0.001):
        assert asked.wait(60)
    causes = [line for line in told if "is not healthy" in line]
    assert [cause.split(". ")[0] for cause in causes] == [
        "Machine m1 is not healthy: its health check is answered 404: Not Found",
        "Machine m1 is not healthy: its health check is answered 503: later",
    ]
    assert [line for line in told if line.startswith("took")] == ["took 2 ms", "took 4 ms"]
