"""Single reads and writes of a job on its profile's database. A write returns once object storage has it."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

import apsw

from app.context import UserContext
from app.jobs import rows
from app.jobs.models import Job
from app.storage.interface import StorageError
from app.storage.retry import Policy
from app.sync.interface import Databases, OwnedElsewhere, SyncError, SyncGone

T = TypeVar("T")

# A conflict or an outage of seconds is no reason to lose a render of minutes; 14 to 28 s in all.
RETRY: Final = Policy(attempts=7, first=0.5, longest=12.0)


async def write(databases: Databases, context: UserContext, change: Callable[[apsw.Connection], T]) -> T:
    """One change, in object storage when this returns. It is made again after a conflict or an outage, so its WHERE
    must say from which state it may happen.

    Raises OwnedElsewhere where another Machine serves the profile: jobs follow the owner, they never take a profile
    over. Raises SyncGone where the profile was deleted, and SyncError or StorageError after the last try."""
    for wait in (*RETRY.waits(), None):
        try:
            if owner := await databases.elsewhere(context):
                raise OwnedElsewhere(f"Machine {owner} serves the profile")
            async with databases.session(context) as session:
                return await session.write(change)
        except (OwnedElsewhere, SyncGone):
            raise
        except (SyncError, StorageError):
            if wait is None:
                raise
            await asyncio.sleep(wait)
    raise AssertionError("the last try returns or raises")


async def look(databases: Databases, context: UserContext, job_id: str) -> Job | None:
    """The job's row as object storage has it."""
    async with databases.session(context) as session:
        return await session.read(lambda connection: rows.find(connection, job_id))
