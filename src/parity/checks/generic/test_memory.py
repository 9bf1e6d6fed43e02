"""The memory limit of fly.toml, against real videos. Only containers have it."""

from __future__ import annotations

import asyncio
import time

from parity.checks import Wrap, check
from parity.checks.generic.support import not_declared, until
from parity.checks.generic.test_jobs import whole_job
from parity.checks.generic.test_uploads import LARGE, like_no_other
from parity.checks.machines import Machines
from parity.checks.media import Media
from parity.checks.person import People
from parity.checks.stack import Stack
from parity.contract import Refused
from parity.wraps import boot

# How many people upload at the same time.
AT_ONCE = 4
# Seconds until the engine has told of a process that was killed for memory.
TOLD_WITHIN_S = 3.0


@check(
    "L",
    "The memory of fly.toml suffices for large uploads at the same time, and for a job on a video in full HD",
    broken=Wrap(boot.hungry_child, {"megabytes": 4096}),
    because="was killed for memory",
    needs=("ffmpeg", "docker"),
    rests_on=("test_someone_new_can_come",),
    alone=True,
    deadline_s=400,
)
async def test_memory_suffices(people: People, machines: Machines, stack: Stack, media: Media) -> None:
    """Pass files on in pieces, bound the memory of what decodes videos, check how child processes end, or give the
    Machine more memory in fly.toml."""
    film = await media.video(10, "1920x1080")
    large = film + (LARGE + 8).to_bytes(4, "big") + b"free" + bytes(LARGE)
    everyone = [await people() for _ in range(AT_ONCE)]
    if not (everyone[0].can("upload") or everyone[0].can("job")):
        not_declared("the contract has neither upload nor job, the two that handle videos")
    since, refused = time.time(), None
    try:
        if everyone[0].can("upload"):
            await asyncio.gather(*(person.app.upload(like_no_other(large)) for person in everyone))
        if everyone[0].can("job"):
            await whole_job(everyone[0], film)
    except Refused as error:  # which may be because of a process that was killed
        refused = error
    found = await until(lambda: machines.killed(since), bool, TOLD_WITHIN_S)
    assert not found, (
        f"while {AT_ONCE} people uploaded {LARGE // 2**20} MB each and one of them began a job on a video in full HD,"
        f" Machine {next(iter(found))} failed: {next(iter(found.values()))}. fly.toml gives it"
        f" {stack.site.project.fly.machine.memory_mb} MB. Where only a child process is killed the app goes on without"
        " its work, so pass files on in pieces, bound the memory of what decodes videos, and check how it ended"
    )
    if refused is not None:
        raise refused
