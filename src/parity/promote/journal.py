"""The record of promotions from this checkout.

An interrupted promotion needs it to continue, and a rollback needs it to find the last good image. Each target has a
folder with ``journal.json``, the configuration of each good image, a lock file, and flyctl's temporary folder while a
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
    """One promotion. ``step`` is the last step that began. ``ended`` is empty while it runs or if it was killed."""

    config_digest: str
    pushed: str = ""
    back_to: str = ""
    step: str = ""
    ended: str = ""


@dataclass
class Journal:
    """``good`` and ``bad`` are digests of pushed manifests that were promoted or rolled back, newest first."""

    folder: Path
    current: Entry | None = None
    good: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> Journal:
        """The journal in ``folder``; an empty one if there is none or it is unreadable."""
        try:
            data = json.loads((folder / "journal.json").read_text("utf-8"))
            current = Entry(**data["current"]) if data["current"] else None
            return cls(folder, current, data["good"], data["bad"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return cls(folder)

    def begin(self, config_digest: str) -> Entry | None:
        """Begin a promotion of this image. Returns the previous one if it was of the same image and unfinished."""
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
        """Record how the promotion ended, and add a digest to the good or the bad ones."""
        assert self.current is not None
        self.current.ended = ended
        if good:
            self.good = [good, *(digest for digest in self.good if digest != good)][:KEPT]
            self.bad = [digest for digest in self.bad if digest != good]
        if bad:
            self.bad = [bad, *(digest for digest in self.bad if digest != bad)][:KEPT]
        self.write()

    def config_of(self, digest: str) -> Path:
        """The file with the configuration that an image was promoted with."""
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
    """Lock the target for this promotion. Raises ``ConfigError`` if another promotion from this checkout runs."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip() or "unknown"
            raise ConfigError(
                str(folder), f"another promotion runs (process {who}); nothing was changed", fix="wait until it ends"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
