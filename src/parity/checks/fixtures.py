"""The pytest fixtures that checks use. All async work of a test runs in one event loop, the fixture ``runner``."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest

from parity.checks import evidence
from parity.checks.apart import can_be_apart, runs_alone
from parity.checks.browser import Notes, Pages, find_chromium, places
from parity.checks.bucket import Bucket
from parity.checks.faults import Faults
from parity.checks.locks import stack_lock, wait_for_room
from parity.checks.machines import Machines
from parity.checks.mark import About
from parity.checks.media import Media, tools_path
from parity.checks.person import People, Person
from parity.checks.session import RUN, Run
from parity.checks.stack import Site, Stack, StackError, client
from parity.checks.stage import NOT_COPIED, Stage
from parity.checks.variants import Change, Files, Mutant
from parity.checks.verdict import NotJudged
from parity.contract import Api, Refused

# The reason of a failure. The report hook stores it, and the fixture ``staged`` writes it into the evidence.
REASON = pytest.StashKey[str]()
# Seconds that a test waited for the stack's lock.
WAITED = pytest.StashKey[float]()
NOTES = pytest.StashKey[Notes]()


def evidence_folder(item: pytest.Item) -> Path:
    """The folder for the evidence of this test."""
    return item.config.stash[RUN].out / "failures" / re.sub(r"\W+", "-", item.name).strip("-")


@pytest.fixture(scope="session")
def run(request: pytest.FixtureRequest) -> Run:
    """The state that all checks of the run share."""
    return request.config.stash[RUN]


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """The event loop of this test."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def variant(request: pytest.FixtureRequest) -> Change | None:
    """The broken variant of a proof (``--prove``); None for a check of the app as it is."""
    given: Change | Mutant | None = getattr(request, "param", None)
    return given.change if isinstance(given, Mutant) else given


@pytest.fixture(scope="session")
def site(run: Run) -> Site:
    """Where the run takes place.

    Before the first check of a run, a local stack is restored to its configured state: an earlier run that was killed
    may have left its broken variant, its faults or its Machines.
    """

    async def put_right() -> bool:
        async with AsyncExitStack() as undo:
            stack = Stack(run.site, client(run.site.target, []))
            undo.push_async_callback(stack.close)
            await Stage(stack, run.named).as_configured()
            if not any(about.apart for about in run.planned.values()):
                return False
            return await can_be_apart(stack, run.contract, lambda: one_more(run, stack))

    if not run.site.live:
        with stack_lock(run.state, alone=True):
            if not run.put_right.exists():
                apart = asyncio.run(put_right())
                run.put_right.write_text("apart" if apart else "", "utf-8")
    return run.site


@pytest.fixture
def checkout(run: Run, variant: Change | None, tmp_path: Path) -> Path:
    """The folder with the app's ``parity.toml``, not to be changed; a changed copy for a ``Files`` variant."""
    root = run.site.project.settings.root
    if not isinstance(variant, Files):
        return root
    copy = tmp_path / "checkout"
    shutil.copytree(root, copy, symlinks=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
    variant.change(copy)
    return copy


@pytest.fixture
def staged(
    request: pytest.FixtureRequest, run: Run, site: Site, runner: asyncio.Runner, variant: Change | None
) -> Iterator[Stage]:
    """The stack with the variant applied, under the stack's lock. Writes the evidence when the test fails."""
    about = About.of(request.node)
    beside = os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1") != "1"  # else a Machine of its own would gain nothing
    apart = beside and variant is None and about is not None and about.apart and run.can_be_apart
    names = request.node.fixturenames
    alone = variant is not None or runs_alone(about, names, apart=apart, one_machine=run.one_machine)
    with ExitStack() as undo:
        began = time.monotonic()
        if not site.live:
            undo.enter_context(stack_lock(run.state, alone=alone))
        request.node.stash[WAITED] = time.monotonic() - began
        said: list[dict[str, Any]] = []
        stack = Stack(site, client(site.target, said), said, says=variant is not None)
        undo.callback(lambda: runner.run(stack.close()))
        if apart:
            stack.own = []
            undo.callback(lambda: runner.run(Machines(stack).destroy_all()))
        stage = Stage(stack, run.named)
        if alone and not site.live:
            runner.run(stage.as_one_finds_it())
        if variant is not None:
            changed = stage.changed(variant)
            runner.run(changed.__aenter__())
            undo.callback(lambda: runner.run(changed.__aexit__(None, None, None)))
        yield stage
        if reason := request.node.stash.get(REASON, ""):
            notes = request.node.stash.get(NOTES, Notes())
            runner.run(evidence.leave(evidence_folder(request.node), reason, stack, notes, run.secrets))


@pytest.fixture
def stack(staged: Stage) -> Stack:
    """The stack: its addresses, the admin API, and ``said``, the requests to the app with their answers."""
    return staged.stack


@pytest.fixture
def machines(stack: Stack) -> Machines:
    return Machines(stack)


@pytest.fixture
def bucket(stack: Stack) -> Bucket:
    return Bucket(stack)


@pytest.fixture
def faults(stack: Stack) -> Faults:
    return Faults(stack)


@pytest.fixture
def modal_calls(stack: Stack) -> Callable[[], Awaitable[list[dict[str, Any]]]]:
    """``await modal_calls()``: the calls of GPU functions that Modal's stand-in received, newest first."""

    async def calls() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await stack.admin("GET", "/modal/calls")
        return found

    return calls


def api_of(stack: Stack, machine: str | None = None) -> Api:
    """An ``Api`` for a new person with a new browser."""
    stubs = None if stack.site.live else stack.stub_calls
    return Api(stack.client(), stack.site.origin, machine=machine, stubs=stubs)


async def one_more(run: Run, stack: Stack) -> Person:
    """One more person who has signed in, pinned to the first Machine.

    Raises ``Refused``, and ``NotJudged`` where a health check keeps the edge from sending requests to that Machine.
    """
    if run.people is not None:
        await asyncio.to_thread(wait_for_room, run.state, run.people)
    machine = None if stack.site.live else await Machines(stack).serving()
    app = run.contract(api_of(stack, machine))
    await app.sign_in()
    return await Person.of(app, stack.client)


@pytest.fixture
def people(stack: Stack, run: Run, runner: asyncio.Runner) -> Iterator[People]:
    """``await people()``: one more person who has signed in, pinned to the first Machine. Raises ``Refused``.

    At a deployed app the people's data is deleted at the end. A failure to do so is an error of the check, because
    nothing else would delete it.
    """
    made: list[Person] = []

    async def kept() -> Person:
        made.append(person := await one_more(run, stack))
        return person

    async def leave() -> None:
        for person in made:
            await person.leaves()

    yield kept
    if stack.site.live:
        try:
            runner.run(leave())
        except Refused as refused:
            raise StackError(
                f"the data of a throw-away person could not be deleted from the app: {refused}. Delete it by hand"
            ) from None


@pytest.fixture
def newcomer(stack: Stack, run: Run, runner: asyncio.Runner) -> Person:
    """A person who has not signed in yet, so ``owns`` is empty."""
    if not stack.site.live:
        runner.run(Machines(stack).serving())
    return Person(run.contract(api_of(stack)), "", stack.client)


@pytest.fixture
def person(people: People, runner: asyncio.Runner) -> Person:
    """A person who has signed in. A refused sign-in ends the check as "not judged"; test_someone_new_can_come fails."""

    async def one() -> Person:
        return await people()

    try:
        return runner.run(one())
    except Refused as refused:
        raise NotJudged(f"no new person can sign in: {refused}") from None


@pytest.fixture
def page(request: pytest.FixtureRequest, stack: Stack) -> Pages:
    """``async with page() as tab``: a page of a new Chromium in which the app's public names lead to this stack."""
    program = find_chromium()
    assert program is not None, "needs=('browser',) is missing in the check"
    request.node.stash[NOTES] = notes = Notes()
    return Pages(program, places(stack.site), notes)


@pytest.fixture(scope="session")
def media(run: Run) -> Media:
    """Makes and reads video files. The check must declare ``needs=("ffmpeg",)``."""
    path = tools_path(run.site.project.settings)
    assert path is not None, "needs=('ffmpeg',) is missing in the check"
    return Media(path, run.site.project.settings.state_dir / "media")


@pytest.fixture
def video(media: Media, runner: asyncio.Runner) -> bytes:
    """A unique video of 8 seconds. The check must declare ``needs=("ffmpeg",)``."""
    return runner.run(media.video())
