"""What handlers ask for about jobs."""

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
    """A Machine knows no profile before it is asked for one: only then can its unfinished jobs go on."""
    runner.awaken(context)


WAKE_JOBS = Depends(wake_jobs)
