"""The process groups of fly.toml that serve no requests, such as a worker."""

from __future__ import annotations

import asyncio
from functools import partial

from parity.checks import Proxy, check
from parity.checks.faults import Faults
from parity.checks.generic.support import PATIENCE_S, not_declared, until, within_s
from parity.checks.generic.test_jobs import (
    INTERRUPTED_AT,
    assert_says_why,
    begun,
    ended,
    lasting,
    still_running,
    time_taken,
)
from parity.checks.machines import Machines, unwanted_end
from parity.checks.person import Person
from parity.checks.stack import Stack
from parity.contract import Job


@check(
    "N",
    "A job is done even when the Machines of the worker groups ended just before it began",
    broken=Proxy("first_answer_kept", everywhere=True),
    because="is still running",
    needs=("job", "ffmpeg"),
    rests_on=("test_job_done",),
    alone=True,
    deadline_s=400,
)
async def test_job_after_its_worker_ended(person: Person, machines: Machines, stack: Stack, video: bytes) -> None:
    """Keep the queue outside the process, and let a worker resume the jobs that an earlier one left."""
    if not (groups := await stack.admin("GET", "/fly/groups")):
        not_declared("fly.toml has no process group besides the one that serves requests")
    for worker in groups:
        await machines.kill(worker["id"])
    job = await begun(person, video)
    for worker in groups:  # as Fly does with the restart policy on-failure; no request can wake such a Machine
        await stack.admin("POST", f"/fly/machines/{worker['id']}/start")
    state = await ended(job)
    assert state.at != "running", (
        f"{still_running(job)}. The Machine of {', '.join(one['group'] for one in groups)} was killed before the job"
        " began, and started again afterwards. Its queue was in memory and ended with it: keep the queue outside the"
        " process"
    )
    assert state.at == "done", (
        f"the job ended as failed after its worker was killed and started again: {state.reason or 'without a reason'}"
    )


@check(
    "N",
    "A job ends although the Machine that works on it was killed in the middle, and says how",
    broken=Proxy("first_answer_kept", everywhere=True),
    because="is still running",
    needs=("job", "ffmpeg"),
    rests_on=("test_job_done", "test_job_over_a_restart"),
    alone=True,
    deadline_s=600,
)
async def test_job_over_a_kill(person: Person, machines: Machines, faults: Faults, stack: Stack, video: bytes) -> None:
    """Take a job with a lease, renew it while the work goes on, and let another worker take a job whose lease ended."""
    groups = [one["id"] for one in await stack.admin("GET", "/fly/groups")]
    if not groups and within_s(person):
        not_declared("by the contract's within_s a killed Machine may take the order of a job with it")
    took_s = await time_taken(person, machines, video)
    for share in INTERRUPTED_AT:
        async with lasting(person, video, faults) as job:
            await asyncio.sleep(share * took_s)
            for machine in groups or [await machines.first()]:
                await machines.kill(machine)
            await machines.start_workers()  # Fly starts a Machine that failed again
            await machines.first()
        await assert_ended(job)


async def assert_ended(job: Job) -> None:
    """Assert that the job ends, and says how."""
    state = await ended(job, refusals_within_s=PATIENCE_S)
    assert state.at != "running", (
        f"{still_running(job)}. The Machine that worked on it was killed in the middle (out of memory, or a failed"
        " host): the job is marked as taken, and no worker takes it again"
    )
    assert_says_why(state, "after a kill in the middle")


@check(
    "N",
    "The Machines of the process groups that serve no requests keep running",
    unproven="fly.toml decides what a group runs, and no variant changes that: variants change the app that serves",
    alone=True,
    deadline_s=90,
)
async def test_groups_stay_up(machines: Machines, stack: Stack) -> None:
    """Look at the log of the group's Machine: parity logs."""
    if not (groups := await stack.admin("GET", "/fly/groups")):
        not_declared("fly.toml has no process group besides the one that serves requests")
    for worker in groups:
        look = partial(machines.get, worker["id"])
        seen = await until(look, lambda one: one["state"] == "started", PATIENCE_S)
        why = unwanted_end(seen["events"])
        last = " | ".join(line for line in (await machines.logs(worker["id"]))[-3:] if line.strip())
        stays = not why and seen["state"] == "started"
        assert stays, (
            f"the Machine of group {worker['group']} is {seen['state']}{why and ', and '}{why}. Its last log lines:"
            f" {last}. Fly stops restarting a Machine after ten restarts within five minutes"
        )
