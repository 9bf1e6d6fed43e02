"""What promotions from this checkout did, so that an interrupted one goes on where it was and the way back is known.

One folder a target: ``journal.json``, the configuration of each good image, a lock, and flyctl's private folder while a
promotion runs.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from parity.config.errors import ConfigError

KEPT = 10


@dataclass
class Entry:
    """One promotion. ``step`` is the last that began; ``ended`` is empty until it ended by itself."""

    config_digest: str
    pushed: str = ""
    back_to: str = ""
    step: str = ""
    ended: str = ""


@dataclass
class Journal:
    """``good`` and ``bad`` are digests of pushed manifests, newest first."""

    folder: Path
    current: Entry | None = None
    good: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> Journal:
        """The journal in ``folder``; an empty one when there is none or it cannot be read."""
        try:
            data = json.loads((folder / "journal.json").read_text("utf-8"))
            current = Entry(**data["current"]) if data["current"] else None
            return cls(folder, current, data["good"], data["bad"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return cls(folder)

    def begin(self, config_digest: str) -> Entry | None:
        """Begin a promotion of this image. Returns the one before, when it was of the same image and did not end."""
        before = self.current
        unfinished = before if before and not before.ended and before.config_digest == config_digest else None
        self.current = Entry(config_digest)
        if before and not before.ended:
            self.current.pushed, self.current.back_to = before.pushed, before.back_to
        self.write()
        return unfinished

    def at(self, step: str) -> None:
        assert self.current is not None
        self.current.step = step
        self.write()

    def end(self, ended: str, *, good: str = "", bad: str = "") -> None:
        """The promotion ended; a digest is good or bad from now on."""
        assert self.current is not None
        self.current.ended = ended
        if good:
            self.good = [good, *(digest for digest in self.good if digest != good)][:KEPT]
            self.bad = [digest for digest in self.bad if digest != good]
        if bad:
            self.bad = [bad, *(digest for digest in self.bad if digest != bad)][:KEPT]
        self.write()

    def config_of(self, digest: str) -> Path:
        """Where the configuration of an image is kept."""
        return self.folder / f"fly-{digest.removeprefix('sha256:')[:12]}.toml"

    def keep_config(self, digest: str, config: Path) -> None:
        shutil.copyfile(config, self.config_of(digest))

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / "journal.draft"
        current = asdict(self.current) if self.current else None
        draft.write_text(json.dumps({"current": current, "good": self.good, "bad": self.bad}, indent=2), "utf-8")
        draft.replace(self.folder / "journal.json")


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the target for this promotion. Raises ``ConfigError`` when another one from this checkout runs."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip() or "unknown"
            raise ConfigError(
                str(folder), f"another promotion runs (process {who}); nothing was changed", fix="wait until it ended"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
