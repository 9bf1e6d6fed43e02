"""Firefox as Debian ships it, by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/), because playwright drives only
builds of its own. Just what one walk through the page needs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

_LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")


def find_firefox() -> str | None:
    return shutil.which("firefox") or shutil.which("firefox-esr")


class Firefox:
    """One tab. Every method returns when the browser has answered."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = count(1)
        self.errors: list[str] = []
        self.ask("session.new", capabilities={})
        self.ask("session.subscribe", events=["log.entryAdded"])
        self._tab = self.ask("browsingContext.getTree")["contexts"][0]["context"]

    def ask(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(60))
            if message.get("method") == "log.entryAdded":
                entry = message["params"]
                if entry["level"] == "error" and entry["type"] == "javascript":
                    self.errors.append(str(entry["text"]))
            elif message.get("id") == number:
                assert message["type"] == "success", message
                return message["result"]

    def go(self, url: str) -> None:
        self.ask("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def run(self, script: str) -> Any:
        """The JSON value of an expression."""
        found = self.ask(
            "script.evaluate",
            expression=f"Promise.resolve({script}).then(JSON.stringify)",
            target={"context": self._tab},
            awaitPromise=True,
        )
        assert found["type"] == "success", found
        return json.loads(found["result"].get("value", "null"))

    def until(self, script: str, within_s: float = 60) -> None:
        end = time.monotonic() + within_s
        while not self.run(script):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.05)

    def click(self, test_id: str) -> None:
        self.until(f"document.querySelector('[data-testid={test_id}]')?.checkVisibility() ?? false")
        self.run(f"document.querySelector('[data-testid={test_id}]').click()")

    def fill(self, test_id: str, text: str) -> None:
        field = f"document.querySelector('[data-testid={test_id}]')"
        self.run(f"({field}.value = {json.dumps(text)}, {field}.dispatchEvent(new Event('input', {{bubbles: true}})))")

    def choose(self, test_id: str, file: Path) -> None:
        """Puts a file into a file input."""
        found = self.ask(
            "script.evaluate",
            expression=f"document.querySelector('[data-testid={test_id}]')",
            target={"context": self._tab},
            awaitPromise=False,
        )
        element = {"sharedId": found["result"]["sharedId"]}
        self.ask("input.setFiles", context=self._tab, element=element, files=[str(file)])


@contextmanager
def firefox(program: str) -> Iterator[Firefox]:
    """A fresh one without a window."""
    with tempfile.TemporaryDirectory(prefix="firefox-") as profile:
        command = [program, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr is not None
                found = next((match for line in process.stderr if (match := _LISTENING.search(line))), None)
                assert found is not None, "Firefox ended before it listened"
                with connect(f"{found[1]}/session", max_size=None, open_timeout=30) as socket:
                    yield Firefox(socket)
            finally:
                process.terminate()
                process.communicate(timeout=30)
