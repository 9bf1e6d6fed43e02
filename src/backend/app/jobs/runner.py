"""Runs jobs: claims a row, does the work, renews the lease, and reports the end when it is stored in R2."""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final

import apsw

from app.context import UserContext
from app.jobs import rows, steps
from app.jobs.hub import Hub
from app.jobs.models import DELETED, Job, JobKind, JobStatus
from app.services.export_worker import finish
from app.services.worker import Work, Worker, WorkFailed
from app.storage.interface import StorageError, StorageUnavailable
from app.storage.retry import Policy
from app.sync.interface import Databases, OwnedElsewhere, SyncError, SyncGone
from app.timestamps import now, text
from reel.errors import ReelError

log = logging.getLogger(__name__)

BEAT_SECONDS: Final = 5.0
LEASE_SECONDS: Final = 30.0
TIDY_AFTER_SECONDS: Final = 60.0
# How long the response to a cancellation waits for Modal.
STOP_SECONDS: Final = 5.0
# By then R2 has answered every PUT that had begun before a call was cancelled.
LATE_SECONDS: Final = 30.0
# An outage of object storage in the middle of a job: 50 to 100 s in all, before the job fails.
AGAIN: Final = Policy(attempts=8, first=1.0, longest=30.0)
# 14 to 27 minutes in all. A function on Modal ends by itself after 30 minutes.
ABANDON: Final = Policy(attempts=12, first=2.0, longest=300.0)
# How long a call may go on after its job has ended: the longest time limit in src/gpu, and its one retry.
CALL_SECONDS: Final = 3600.0
CLEARED: Final = "Cleared at start of the backend (CLEAR_PENDING_JOBS_ON_STARTUP)"


Tidy = Callable[[UserContext], Awaitable[object]]


class Runner:
    """All jobs of this process. `owner` is `machine/process`. `tidy` runs in the background some time after the first
    request for a profile, so that it does not slow down a cold start."""

    def __init__(
        self, databases: Databases, worker: Worker, hub: Hub, owner: str, *, clear: bool, tidy: Tidy | None = None
    ) -> None:
        self.hub = hub
        self._tidy = tidy
        self._databases = databases
        self._worker = worker
        self._owner = owner
        self._clear = clear
        self._started_at = now()
        # Exports must not wait for previews (up to an hour) or inspections (minutes). An inspection keeps 16 MiB of the
        # video in memory, so only one runs at a time.
        others = asyncio.Semaphore(worker.limit)
        self._slots = dict.fromkeys(JobKind, others) | {
            JobKind.PREVIEW: asyncio.Semaphore(worker.limit),
            JobKind.INSPECTION: asyncio.Semaphore(1),
        }
        self._tasks: dict[tuple[UserContext, str], asyncio.Task[None]] = {}
        self._again: dict[tuple[UserContext, str], Job] = {}
        self._live: dict[tuple[UserContext, str], _Live] = {}
        self._seen: set[UserContext] = set()
        self._awakening: set[asyncio.Task[None]] = set()
        self._stopping: set[asyncio.Task[object]] = set()
        self._stopped = False

    def awaken(self, context: UserContext) -> None:
        """At the first request for a profile: resume the unfinished jobs of earlier processes, or fail them."""
        if context not in self._seen:
            self._resume(context)

    def take_over(self, context: UserContext) -> None:
        """This Machine has become the profile's owner: resume the unfinished jobs of the previous owner."""
        self._resume(context)

    def _resume(self, context: UserContext) -> None:
        # Releasing a job at a stop may make this Machine the owner. It must not start that job again.
        if self._stopped:
            return
        self._seen.add(context)
        task = asyncio.create_task(self._awaken(context))
        self._awakening.add(task)
        task.add_done_callback(self._awakening.discard)

    def submit(self, context: UserContext, job: Job) -> None:
        """Run a job whose row is stored. Does nothing if the process is stopping. If the job already runs here, its row
        is looked at again when it has ended: it may be a cancelled job that ends slowly, and was queued again."""
        key = (context, job.id)
        if key in self._tasks:
            self._again[key] = job
        elif not self._stopped:
            task = self._tasks[key] = asyncio.create_task(self._run(context, job.id, self._slots[job.kind]))
            task.add_done_callback(lambda _: self._ended(context, job.id))

    def _ended(self, context: UserContext, job_id: str) -> None:
        key = (context, job_id)
        del self._tasks[key]
        if again := self._again.pop(key, None):
            self.submit(context, again)

    def latest(self, context: UserContext, job: Job) -> Job:
        """The job with its current progress if it runs here, because its row is only updated every few seconds."""
        live = self._live.get((context, job.id))
        if live is None or job.status is not JobStatus.PROCESSING:
            return job
        return dataclasses.replace(job, progress=live.job.progress, phase=live.job.phase)

    async def cancel(self, context: UserContext, job: Job) -> None:
        """Stop the work of a cancelled or deleted job, here and on Modal. Object storage must have the row. If Modal
        cannot be reached, this returns after STOP_SECONDS and the call is cancelled in the background."""
        await asyncio.wait([self._in_background(self._end(context, job))], timeout=STOP_SECONDS)

    def stop_jobs(self, context: UserContext, jobs: Iterable[Job]) -> None:
        """The same for several jobs, without waiting for it."""
        for job in jobs:
            self._in_background(self._end(context, job))

    def _in_background(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        task = asyncio.create_task(work)
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)
        return task

    async def _end(self, context: UserContext, job: Job) -> None:
        task = self._tasks.get((context, job.id))
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        ended = await self._abandon(job)
        try:
            found = await steps.look(self._databases, context, job.id)
        except SyncGone:
            found = None
        except (SyncError, StorageError) as error:
            log.warning("job %s was stopped, its listeners do not know: %s", job.id, error)
            return
        if found is not None:
            self.hub.publish(context, found)
        if _is_unwanted(job, found):
            await self._discard(job)
            if job.call_id is not None:
                forget = ended and found is not None and found.subject_id == DELETED
                self._in_background(self._discard_late(context, job, forget))

    async def _discard_late(self, context: UserContext, job: Job, forget: bool) -> None:
        """A function may have sent its whole file when its call was cancelled. With `forget`, also delete the row that
        kept the call's id."""
        await asyncio.sleep(LATE_SECONDS)
        await self._discard(job)
        if forget:
            try:
                await steps.write(self._databases, context, lambda connection: rows.forget(connection, job.id))
            except (SyncError, StorageError) as error:
                log.warning("the row of job %s, which was deleted, is left to the next start: %s", job.id, error)

    async def stop(self, deadline_s: float) -> None:
        """Release every job, so that another process can resume it. Modal calls keep running."""
        self._stopped = True
        tasks = [*self._tasks.values(), *self._awakening, *self._stopping]
        for task in tasks:
            task.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=deadline_s)
            for task in late:  # their rows stay claimed until the lease expires
                task.cancel()

    async def _awaken(self, context: UserContext) -> None:
        try:
            async with self._databases.session(context) as session:
                since = text(time.time() - CALL_SECONDS)
                found, ended, deleted = await session.read(
                    lambda c: (rows.unfinished(c), rows.ended_calls(c, since), rows.deleted(c))
                )
            # A process that was killed may not have cancelled these calls. A second cancellation changes nothing.
            for job in ended:
                self._in_background(self._abandon(job))
            self.stop_jobs(context, deleted)
            for job in found:
                if self._clear and job.created_at < self._started_at:
                    await self._fail_unfinished(context, job.id, CLEARED)
                else:
                    self.submit(context, job)
        except (SyncError, StorageError) as error:
            log.warning("jobs of %s: %s; the next request tries again", context, error)
            self._seen.discard(context)
            return
        if self._tidy is not None:
            await asyncio.sleep(TIDY_AFTER_SECONDS)
            try:
                await self._tidy(context)
            except (SyncError, StorageError) as error:
                log.warning("sweep of %s: %s; the next start of a Machine does it", context, error)

    async def _run(self, context: UserContext, job_id: str, slots: asyncio.Semaphore) -> None:
        waits = AGAIN.waits()
        again: float | None = next(waits)
        while True:
            try:
                async with slots:
                    job = await steps.write(
                        self._databases,
                        context,
                        lambda connection: rows.claim(connection, job_id, self._owner, time.time(), LEASE_SECONDS),
                    )
                    if job is not None:
                        await self._carry_out(context, job, last=again is None)
                        return
                found = await steps.look(self._databases, context, job_id)
                if found is None or found.status.over:
                    return
                wait = max(1.0, min(LEASE_SECONDS, found.lease_until - time.time()))
            except OwnedElsewhere as error:
                # The owner resumes the job when this process's lease has expired.
                log.info("job %s: %s", job_id, error)
                return
            except SyncGone as error:
                log.info("job %s ends with its profile: %s", job_id, error)
                return
            except (SyncError, StorageError) as error:
                log.warning("job %s: %s", job_id, error)
                if self._stopped:  # releasing the job failed, and this error replaced the CancelledError
                    return
                wait = LEASE_SECONDS if again is None else again
                again = next(waits, None)
            await asyncio.sleep(wait)

    async def _carry_out(self, context: UserContext, job: Job, *, last: bool) -> None:
        """Run a claimed job to its end. Raises SyncError if its row cannot be written, and StorageUnavailable if object
        storage fails in the middle of the work, unless this is the `last` attempt."""
        live = self._live[context, job.id] = _Live(context, job, self.hub)
        self.hub.publish(context, job)
        working = asyncio.create_task(self._worker.run(Work(job, live.report, self._note_call(context, live))))
        beating = asyncio.create_task(self._beat(context, live, working))
        try:
            result = await working
        except asyncio.CancelledError:
            working.cancel()
            await asyncio.wait([working])
            beating.cancel()
            await self._release(context, live.job)
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
        except (WorkFailed, ReelError) as error:
            await self._fail(context, live, str(error))
        except StorageUnavailable as error:
            if not last:
                raise
            await self._fail(context, live, f"Object storage: {error}")
        except StorageError as error:
            await self._fail(context, live, f"Object storage: {error}")
        except SyncError:
            raise
        except Exception as error:
            # The row must not stay "processing" for ever because of a bug.
            log.exception("job %s", job.id)
            await self._fail(context, live, f"Internal error: {type(error).__name__}: {error}")
        else:
            await self._finish(context, job, result)
        finally:
            beating.cancel()
            self._live.pop((context, job.id), None)

    async def _release(self, context: UserContext, job: Job) -> None:
        """This process stops, or the job was cancelled or deleted, or another process has taken it."""
        found = await self._write_end(
            context, job, lambda connection: rows.release(connection, job.id, self._owner, job.call_id)
        )
        if found is None or found.status.over:
            # Only this process may know the call.
            await self._abandon(job)

    async def _finish(self, context: UserContext, job: Job, result: dict[str, Any]) -> None:
        await self._write_end(context, job, lambda connection: finish(connection, job, self._owner, result))

    async def _write_end(self, context: UserContext, job: Job, change: Any) -> Job | None:
        """Write how the work ended. If its row was deleted in the meantime, delete the file: it was not stored yet when
        the row was deleted, and cancelled work may store it too, because an upload ends with R2's answer."""
        try:
            found = await self._write(context, job.id, change)
        except SyncGone:
            await self._discard(job)
            raise
        except OwnedElsewhere:
            # If the row still exists, the owner finds the file and completes the job.
            if _is_unwanted(job, await steps.look(self._databases, context, job.id)):
                await self._discard(job)
            raise
        if _is_unwanted(job, found):
            await self._discard(job)
        return found

    async def _discard(self, job: Job) -> None:
        try:
            await self._worker.discard(job)
        except StorageError as error:
            log.warning("the file of job %s, which was deleted, is left to the sweep: %s", job.id, error)

    async def _fail_unfinished(self, context: UserContext, job_id: str, reason: str) -> None:
        await self._write(context, job_id, lambda connection: rows.fail(connection, job_id, reason))

    async def _fail(self, context: UserContext, live: "_Live", reason: str) -> None:
        job = live.job
        found = await self._write(
            context, job.id, lambda connection: rows.fail(connection, job.id, reason, self._owner)
        )
        if found is None or found.status.over:
            self._in_background(self._abandon(job))

    async def _write(self, context: UserContext, job_id: str, change: Any) -> Job | None:
        """Change the state, and send the event when the change is stored. Returns the job; None if it has no row."""

        def change_and_read(connection: apsw.Connection) -> Job | None:
            change(connection)
            return rows.find(connection, job_id)

        job = await steps.write(self._databases, context, change_and_read)
        if job is not None:
            self.hub.publish(context, job)
        return job

    def _note_call(self, context: UserContext, live: "_Live") -> Any:
        job = live.job

        async def note(call_id: str | None) -> None:
            live.job = dataclasses.replace(live.job, call_id=call_id)
            try:
                kept = await steps.write(
                    self._databases,
                    context,
                    lambda connection: rows.set_call(connection, job.id, self._owner, call_id),
                )
            except SyncGone:
                self._forget_call(live, job)
                raise
            if not kept:  # the job was cancelled or deleted during the spawn, or another process has taken it
                self._forget_call(live, job)
                raise WorkFailed("The job was cancelled")

        return note

    def _forget_call(self, live: "_Live", before: Job) -> None:
        """Cancel a call that only this process knows."""
        if live.job.call_id is not None:
            self._in_background(self._abandon(live.job))
        live.job = dataclasses.replace(live.job, call_id=before.call_id)

    async def _beat(self, context: UserContext, live: "_Live", working: asyncio.Task[Any]) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            job = live.job

            def renew(connection: apsw.Connection, job: Job = job) -> bool:
                return rows.renew(connection, job, self._owner, time.time() + LEASE_SECONDS)

            try:
                kept = await steps.write(self._databases, context, renew)
            except OwnedElsewhere:
                kept = False
            except SyncGone:
                # Without a row, no other process can find the call.
                working.cancel()
                self._in_background(self._abandon(live.job))
                return
            except (SyncError, StorageError) as error:
                log.warning("lease of job %s: %s", job.id, error)
                continue
            if not kept:
                working.cancel()
                return

    async def _abandon(self, job: Job) -> bool:
        """End the job's call on Modal and delete its pieces. While Modal cannot be reached, it is asked again for about
        as long as a call may run. False if it could not be reached all that time."""
        for wait in (*ABANDON.waits(), None):
            try:
                await self._worker.abandon(job)
                return True
            except WorkFailed as error:
                log.warning("job %s has ended, its Modal call may still run: %s", job.id, error)
            if wait is not None:
                await asyncio.sleep(wait)
        return False


def _is_unwanted(job: Job, found: Job | None) -> bool:
    """Whether no row needs the file of a job that has run; `job` is its current row. A cancelled or failed export may
    be rendered again, with the same key."""
    if job.kind is JobKind.INSPECTION:  # it creates no file; this is about the file of a refused video
        return found is not None and found.status is JobStatus.COMPLETE and "refused" in (found.result or {})
    if found is None or found.subject_id == DELETED:
        return True
    return job.kind is not JobKind.EXPORT and found.status in (JobStatus.CANCELLED, JobStatus.FAILED)


class _Live:
    """Progress of a job that runs here: sent to listeners at once, stored in the row at the next renewal. So is its
    checkpoint, which listeners do not get."""

    def __init__(self, context: UserContext, job: Job, hub: Hub) -> None:
        self.job = job
        self._context = context
        self._hub = hub

    async def report(self, progress: float, phase: str, checkpoint: str | None = None) -> None:
        progress = max(self.job.progress, min(progress, 0.99))
        if checkpoint is not None:
            self.job = dataclasses.replace(self.job, checkpoint=checkpoint)
        if (progress, phase) != (self.job.progress, self.job.phase):
            self.job = dataclasses.replace(self.job, progress=progress, phase=phase)
            self._hub.publish(self._context, self.job)
