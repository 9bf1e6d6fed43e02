"""FastAPI dependencies for jobs."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from app.dependencies import ContextDep
from app.jobs.runner import Runner


async def runner(connection: HTTPConnection) -> Runner:
    """The process's runner."""
    found: Runner = connection.app.state.runner
    return found


RunnerDep = Annotated[Runner, Depends(runner)]


async def wake_jobs(context: ContextDep, runner: RunnerDep) -> None:
    """Resumes the unfinished jobs of a profile at its first request, because until then a Machine does not know it."""
    runner.awaken(context)


WAKE_JOBS = Depends(wake_jobs)
