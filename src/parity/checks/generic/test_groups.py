"""The process groups of fly.toml that serve no requests, such as a worker."""

from __future__ import annotations

from functools import partial

from parity.checks import Proxy, check
from parity.checks.generic.support import PATIENCE_S, not_declared, until
from parity.checks.generic.test_jobs import begun, ended, still_running
from parity.checks.machines import Machines
from parity.checks.person import Person
from parity.checks.stack import Stack


@check(
    "N",
    "A job is done even when the Machines of the worker groups ended just before it began",
    broken=Proxy("first_answer_kept"),
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
        crashed = [event for event in seen["events"] if event.get("crashed") or event.get("oom_killed")]
        last = " | ".join(line for line in (await machines.logs(worker["id"]))[-3:] if line.strip())
        stays = not crashed and seen["state"] == "started"
        assert stays, (
            f"the Machine of group {worker['group']} crashed {len(crashed)} times and is {seen['state']}. Its last log"
            f" lines: {last}. Fly stops restarting a Machine after ten restarts within five minutes"
        )
