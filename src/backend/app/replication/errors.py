"""Every error of replication, drawn once.

::

    ReplicationError
    ├── StoreError      the object store could not be asked; nothing is known
    ├── FileExists      a create was refused because the name is taken
    ├── Fenced          another writer's file is where ours should have gone
    ├── Outdated        this writer slept past the time for which the fence is sure to stand
    ├── Lost            commits were dropped, or the view of a request was replaced; `cause` says why
    ├── Declined        the caller's own change raised an exception and wrote nothing
    ├── Damaged         the replica cannot be read; names the object
    │   └── Deleted     its profile was deleted
    ├── GapError        transactions are missing in a list of files
    ├── LtxError        a file is not a whole, valid LTX file
    ├── NotADatabase    bytes that SQLite does not take for a sound database
    ├── ForeignWriter   something else wrote to the local file
    ├── NothingThere    an operator's command has nothing to work on
    └── Refused         an operator's command would destroy something

`app.replication.session` translates what a request can meet into the errors of `app.sync.interface`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.replication.copy import Ticket
    from app.replication.layout import FileRef


class ReplicationError(Exception):
    """Base of all errors of this package."""


class StoreError(ReplicationError):
    """The store could not be asked or understood: nothing is known. Never means that something is missing."""


class FileExists(ReplicationError):
    """The store answered that the file is there already; nothing was written by this call."""


class Fenced(ReplicationError):
    """Another writer's file is where ours should have gone; ``data`` is what is there.

    Not ``certain``: this writer verified nothing for so long that its own file may have been there before, merged into
    a snapshot and deleted. Then it is unknown whether its commits were kept.
    """

    def __init__(self, ref: "FileRef", data: bytes, *, certain: bool = True) -> None:
        self.ref, self.data, self.certain = ref, data, certain
        super().__init__(f"{ref.name} belongs to another writer")


class Outdated(ReplicationError):
    """This writer verified nothing for so long that files which would have stopped it may have been deleted."""


class Lost(ReplicationError):
    """The commits of a ticket were dropped, or the view it stands for was replaced. ``cause`` says why."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause
        super().__init__(str(cause))


class Declined(ReplicationError):
    """The caller's change raised ``error``, and nothing was written. ``ticket`` is the state that it judged."""

    def __init__(self, error: Exception, ticket: "Ticket") -> None:
        self.error, self.ticket = error, ticket
        super().__init__(str(error))


class Damaged(ReplicationError):
    """The replica cannot be read: the object ``name``, seen from the replica's folder, is broken or missing."""

    def __init__(self, name: str, problem: str) -> None:
        self.name, self.problem = name, problem
        super().__init__(f"{name}: {problem}")


class Deleted(Damaged):
    """The replica is that of a deleted profile."""


class GapError(ReplicationError):
    """Files are missing between what can be rebuilt and what the replica holds; the first one begins at ``txid``."""

    def __init__(self, txid: int, problem: str) -> None:
        self.txid = txid
        super().__init__(f"TXID {txid:016x} is missing{problem}")


class LtxError(ReplicationError):
    """A file is not a whole, valid LTX file."""


class NotADatabase(ReplicationError):
    """Bytes that SQLite does not take for a whole, consistent database; the message says why."""


class ForeignWriter(ReplicationError):
    """Something else wrote to the local file: it cannot be trusted any more."""


class NothingThere(ReplicationError):
    """There is nothing to do the work on; the message says what was looked for."""


class Refused(ReplicationError):
    """The work would destroy something or could not hold; the message says what to do instead."""
