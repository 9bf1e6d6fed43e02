"""Creates the job runner at start; at stop, releases its jobs for another process."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from app.core import Core
from app.games.sweep import sweep
from app.ids import new_id
from app.jobs.hub import Hub
from app.jobs.runner import Runner
from app.services.export_worker import make_worker


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Sets `app.state.runner`."""
    core: Core = app.state.core
    settings = core.settings
    # Remove the sources and pieces of a killed process. On Fly the disk is empty after each start anyway.
    await asyncio.to_thread(shutil.rmtree, settings.user_data_dir / ".work", ignore_errors=True)
    owner = f"{settings.fly_machine_id or socket.gethostname()}/{new_id()}"
    worker, tidy = make_worker(core), partial(sweep, core)
    runner = Runner(core.databases, worker, Hub(), owner, clear=settings.clear_pending_jobs_on_startup, tidy=tidy)
    app.state.runner = runner
    core.databases.when_owned = runner.take_over
    asking = asyncio.create_task(core.gpu.watch()) if core.gpu else None
    try:
        yield
    finally:
        if asking is not None:
            asking.cancel()
        await runner.stop(settings.shutdown_seconds)
