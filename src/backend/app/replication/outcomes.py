"""What can become of reads, writes and uploads: the ticket of a commit, and every error of a replica."""

from __future__ import annotations

from dataclasses import dataclass

from app.replication.layout import FileRef


class Fenced(Exception):
    """Another writer's file is where ours should have gone; ``data`` is what is there."""

    def __init__(self, ref: FileRef, data: bytes) -> None:
        self.ref, self.data = ref, data
        super().__init__(f"{ref.name} belongs to another writer")


class Outdated(Exception):
    """This writer slept so long that files which would have stopped it may have been deleted; it was stopped late."""


class Damaged(Exception):
    """The replica cannot be read: the object ``name``, seen from the replica's folder, is broken or missing."""

    def __init__(self, name: str, problem: str) -> None:
        self.name, self.problem = name, problem
        super().__init__(f"{name}: {problem}")


class Lost(Exception):
    """The commits of a ticket were dropped; ``cause`` says why: ``Fenced``, ``Outdated`` or ``StoreError``."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause
        super().__init__(str(cause))


@dataclass(frozen=True)
class Ticket:
    """What must be in the replica before an answer may leave: commit ``seq`` of life ``epoch`` of the local copy."""

    epoch: int
    seq: int
