"""Records which images Machines ran, and when. The receipt of the checks is verified against it.

It is a file of JSON lines beside the logs, so that it is complete even if the stand-in is replaced during a run.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

from parity.fly.machines.driver import Image

# Number of lines that the stand-in keeps at its start.
KEPT_LINES = 5000


class ImageLog:
    """The file ``images.jsonl`` in ``folder``; without a folder the log is only in memory."""

    def __init__(self, folder: Path | None = None) -> None:
        self._path = folder / "images.jsonl" if folder else None
        self._lines: list[dict[str, object]] = []

    def open(self) -> None:
        """Read what an earlier stand-in wrote. Its Machines are gone."""
        if self._path and self._path.exists():
            self._lines = [json.loads(line) for line in self._path.read_text("utf-8").splitlines()[-KEPT_LINES:]]
        self._add({"ended": "*"})

    def started(self, machine: str, image: Image) -> None:
        self._add({"started": machine, "image": asdict(image)})

    def ended(self, machine: str) -> None:
        self._add({"ended": machine})

    def ran_since(self, since: float) -> list[Image]:
        """Every image that some Machine ran at ``since`` (Unix seconds) or later, in the order of their first start."""
        running: dict[str, Image] = {}
        found: list[Image] = []
        for line in self._lines:
            if float(str(line["time"])) > since:
                found += [image for image in running.values() if image not in found]
            if "started" in line:
                running[str(line["started"])] = Image(**line["image"])  # type: ignore[arg-type]
            elif line["ended"] == "*":
                running.clear()
            else:
                running.pop(str(line["ended"]), None)
        return found + [image for image in running.values() if image not in found]

    def _add(self, line: dict[str, object]) -> None:
        line = {"time": time.time(), **line}
        self._lines.append(line)
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
