"""The state of a running promotion, and the ways in which it can end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from parity.config.fly_toml import FlyConfig
from parity.promote.commands import Promotion
from parity.promote.journal import Journal
from parity.promote.releases import WayBack
from parity.promote.shell import Shell

PUSHED = "<digest of the pushed manifest>"
BEFORE = "<digest of the last good image>"
SLEEPING = "<id of each sleeping Machine>"
KNOWN = "<what that release printed>"
SAVED = "<configuration of the last good image>"


class Ended(IntEnum):
    """The exit code of a promotion."""

    PROMOTED = 0
    NOTHING_CHANGED = 1
    ROLLED_BACK = 2
    NEEDS_A_PERSON = 3


class Refused(Exception):
    """A comparison or an assertion failed. Finding that out changed nothing on Fly."""


@dataclass(frozen=True)
class Patience:
    """How long the Machines may take to report healthy after a wake or deploy, and how often to ask; seconds."""

    deadline_s: float = 120.0
    every_s: float = 2.0


@dataclass
class Run:
    """The state of a promotion. In a dry run, placeholders stand for values that only a real run finds out."""

    p: Promotion
    shell: Shell
    journal: Journal
    patience: Patience
    secrets: Sequence[str] = ()
    secrets_file: str = ""
    fly: FlyConfig | None = None  # the fly.toml that is deployed; None in a rehearsal
    pushed: str = PUSHED
    back: WayBack | None = None
    saved_config: Path | None = None
    seen: frozenset[str] = frozenset()  # digests that ran when the way back was looked for
    gpu_outdated: bool = True
    no_way_back: bool = False  # --consent-no-way-back: promote even if a rollback is impossible
    changing: bool = field(default=False)  # a step that changes Fly, Modal or the bucket has begun

    @property
    def reference(self) -> str:
        return f"{self.p.repository}@{self.pushed}"
