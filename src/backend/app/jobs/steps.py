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

# 14 to 28 s in all, so that a conflict or a short outage does not lose a render of minutes.
RETRY: Final = Policy(attempts=7, first=0.5, longest=12.0)


async def write(databases: Databases, context: UserContext, change: Callable[[apsw.Connection], T]) -> T:
    """Make one change and return when it is stored in R2. After a conflict or an outage it is repeated, so its WHERE
    clause must name the states from which it may start.

    Raises OwnedElsewhere if another Machine serves the profile, because a job never makes its Machine the owner. Raises
    SyncGone if the profile was deleted, and SyncError or StorageError after the last attempt."""
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
    """The job's row as stored in R2."""
    async with databases.session(context) as session:
        return await session.read(lambda connection: rows.find(connection, job_id))
