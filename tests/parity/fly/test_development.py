"""`parity dev` with processes: an edit is served, a mistake is shown, what is in flight ends as in a stop."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from tests.parity.fly.support import UVICORN, Edge, StartEdge, until

from parity.admin.app import http_exception_as_problem
from parity.fly.development import Development, NotDeclared, Sources
from parity.fly.development_admin import dev_routes, redeploy
from parity.fly.machines.driver import DriverError
from parity.fly.machines.process import ProcessDriver
from parity.fly.machines.state import State
from parity.fly.server import loopback_peers

APP = """
import asyncio, pathlib
SAYS = "one"

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/slow":
        pathlib.Path({started!r}).touch()
        while not pathlib.Path({go!r}).exists():
            await asyncio.sleep(0.01)
    if scope["path"] == "/stop":
        await asyncio.sleep(0)  # a line for a breakpoint that no health check comes to
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": SAYS.encode()}})
"""


async def no_functions() -> str:
    return ""


class Tree:
    """A checkout with one app, and a stand-in that serves it."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "backend"
        self.module, self.go, self.started = self.folder / "echo.py", root / "go", root / "started"
        self.edge: Edge
        self.development: Development
        self.folder.mkdir(parents=True)
        self.module.write_text(APP.format(go=str(self.go), started=str(self.started)))

    def save(self, code: str) -> None:
        """Save the module whole, by one change of the watched folder, so that the Machine is restarted once."""
        draft = self.root / "draft"
        draft.write_text(code)
        draft.replace(self.module)

    def say(self, text: str) -> None:
        """Save the module with another text."""
        self.save(self.module.read_text().replace('SAYS = "one"', f'SAYS = "{text}"'))

    async def get(self, path: str = "/") -> httpx.Response:
        async with self.edge.client() as client:
            return await client.get(path)

    async def says(self, text: str) -> None:
        async def said() -> bool:
            return (await self.get()).text == text

        await until(said, f"{text!r} is served")

    async def problem(self, text: str) -> None:
        """Wait until ``GET /fly/dev`` shows this text: it adds the driver's reason after the Machine is given up."""

        async def shown() -> bool:
            return text in str((await self.development.as_json())["problem"])

        await until(shown, f"{text!r} is shown")

    @asynccontextmanager
    async def developing(
        self, functions: tuple[Path, ...] = (), deploy: Callable[[], Awaitable[str]] = no_functions
    ) -> AsyncIterator[Development]:
        sources = Sources(self.root, (self.folder,), functions, (self.root / "state",))
        self.development = Development(self.edge.standin.fleet, sources, deploy)
        await self.development.switch(on=True, timeout_s=60)
        try:
            yield self.development
        finally:
            await self.development.close()


@pytest.fixture
async def tree(tmp_path: Path, start_edge: StartEdge) -> Tree:
    made = Tree(tmp_path / "checkout")
    host = loopback_peers()[2]
    driver = ProcessDriver(made.root, "backend", UVICORN, made.root / "state", host)
    # Requests in flight have the time that a busy machine needs, before a restart ends the app.
    made.edge = await start_edge(driver=driver, cordon_s=60)
    return made


async def test_an_edit_is_served_and_the_machine_keeps_its_id(
    tree: Tree, record_property: Callable[[str, object], None]
) -> None:
    machine = tree.edge.machine.id
    async with tree.developing() as development:
        await tree.says("one")
        tree.say("two")
        await tree.says("two")
        await until(lambda: development.seconds is not None, "the time is told")
        record_property("edit to served, processes, s", development.seconds)
        shown = await development.as_json()
    assert (shown["sources"], shown["problem"], tree.edge.machine.id) == (["backend"], "", machine)
    assert "backend/echo.py" in development.changed


async def test_code_that_ends_before_the_driver_sees_it_run_is_given_up_until_the_next_edit(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ended(_: object) -> None:
        raise DriverError("Machine ended at once: exit 1")

    async with tree.developing() as development:
        await tree.says("one")
        with monkeypatch.context() as broken:
            broken.setattr(tree.edge.standin.fleet.driver, "start", ended)
            tree.say("broken")
            await until(lambda: tree.edge.machine.given_up, "the Machine is given up")
            await tree.problem("ended at once: exit 1")
        tree.save(tree.module.read_text().replace('"broken"', '"two"'))
        await tree.says("two")
        assert (await development.as_json())["problem"] == ""


async def test_machines_say_that_they_run_the_working_tree(tree: Tree) -> None:
    assert tree.edge.machine.as_json()["dev"] is False
    async with tree.developing():
        assert tree.edge.machine.as_json()["dev"] is True
        (ran,) = [image for image in tree.edge.standin.fleet.images.ran_since(0) if image.dev]
        assert ran.ref.startswith("process:")


async def test_a_request_in_flight_is_answered_by_the_old_code_and_the_next_by_the_new(tree: Tree) -> None:
    async with tree.developing():
        slow = asyncio.create_task(tree.get("/slow"))
        await until(tree.started.exists, "the slow request is in the app")
        tree.say("two")
        await until(lambda: tree.edge.machine.state is State.STOPPING, "the Machine is being stopped")
        assert not slow.done()
        new = asyncio.create_task(tree.get())
        tree.go.touch()
        assert ((await slow).status_code, (await slow).text) == (200, "one")
        assert ((await new).status_code, (await new).text) == (200, "two")


async def test_code_that_does_not_start_is_shown_once_and_answers_502_until_the_next_edit(tree: Tree) -> None:
    good = tree.module.read_text()
    async with tree.developing() as development:
        await tree.says("one")
        tree.save("def broken(:\n")
        await until(lambda: tree.edge.machine.given_up, "the Machine is given up")
        assert "SyntaxError" in str((await development.as_json())["problem"])
        assert (await tree.get()).status_code == 502
        crashes = [event for event in tree.edge.machine.life.events if event.detail.get("crashed")]
        assert len(crashes) <= 2  # at the edit, and at the request that woke it
        tree.save(good)
        await tree.says("one")
        assert (await development.as_json())["problem"] == ""


async def test_two_edits_at_once_end_with_the_last_one(tree: Tree) -> None:
    async with tree.developing():
        for number in range(5):
            tree.module.write_text(
                tree.module.read_text().replace("one", f"n{number}").replace(f"n{number - 1}", f"n{number}")
            )
            await asyncio.sleep(0)
        await tree.says("n4")


async def test_a_folder_that_is_made_anew_is_watched_again(tree: Tree) -> None:
    """As a checkout of another branch does."""
    async with tree.developing():
        await tree.says("one")
        shutil.move(tree.folder, tree.root / "kept")
        shutil.copytree(tree.root / "kept", tree.folder)
        tree.say("two")
        await tree.says("two")
        tree.module.write_text(tree.module.read_text().replace("two", "three"))
        await tree.says("three")


async def test_a_machine_that_sleeps_is_left_asleep_and_wakes_with_the_new_code(tree: Tree) -> None:
    async with tree.developing() as development:
        await tree.says("one")
        await tree.edge.machine.stop()
        tree.say("two")
        await until(lambda: development.reloads > 0, "the edit is seen")
        assert tree.edge.machine.state is State.STOPPED
        await tree.says("two")


async def test_releases_of_a_check_go_on_running_the_working_tree_until_it_is_ended(tree: Tree) -> None:
    fleet = tree.edge.standin.fleet
    async with tree.developing() as development:
        await fleet.deploy(None, None, {"EXTRA": "1"}, wait=True, timeout_s=60)
        assert tree.edge.machine.spec.image.dev
        await development.switch(on=False, timeout_s=60)
        assert not tree.edge.machine.spec.image.dev
        assert await development.as_json() == {"on": False}
        reloads = development.reloads
        tree.say("two")
        await tree.says("one")
        assert development.reloads == reloads


async def test_a_change_of_the_functions_deploys_them_again_and_leaves_machines_alone(tree: Tree) -> None:
    functions = tree.root / "gpu"
    functions.mkdir()
    deployed: list[str] = []

    async def deploy() -> str:
        deployed.append("again")
        return "they do not import"

    async with tree.developing((functions,), deploy) as development:
        await tree.says("one")  # the last event of its start, an open port, has happened
        starts = len(tree.edge.machine.life.events)
        (functions / "entry.py").write_text("app = 1\n")
        await until(lambda: bool(deployed), "the functions are deployed again")
        await until(lambda: development.functions_problem != "", "the problem is told")
        assert (await development.as_json())["functions_problem"] == "they do not import"
        assert len(tree.edge.machine.life.events) == starts


async def test_an_edit_is_served_while_the_functions_are_still_being_deployed(tree: Tree) -> None:
    begun, finish, deploys = asyncio.Event(), asyncio.Event(), [0]

    async def deploy() -> str:
        deploys[0] += 1
        begun.set()
        await finish.wait()
        return ""

    async with tree.developing((tree.folder,), deploy):
        tree.say("two")
        await tree.says("two")
        async with asyncio.timeout(60):
            await begun.wait()
        tree.save(tree.module.read_text().replace("two", "three"))
        await tree.says("three")
        assert deploys == [1]
        finish.set()
        await until(lambda: deploys[0] > 1, "the later change is deployed too")


async def test_nothing_is_served_from_the_tree_where_no_mounts_are_declared(tree: Tree) -> None:
    development = Development(tree.edge.standin.fleet, Sources(tree.root, ()), no_functions)
    with pytest.raises(NotDeclared, match=r"\[dev\] mounts"):
        await development.switch(on=True, timeout_s=1)
    assert not tree.edge.standin.fleet.dev


async def test_the_admin_api_turns_it_on_and_off_and_refuses_what_is_not_understood(tree: Tree) -> None:
    sources = Sources(tree.root, (tree.folder,), (), (tree.root / "state",))
    development = Development(tree.edge.standin.fleet, sources, no_functions)
    app = Starlette(routes=dev_routes(development, 20.0), exception_handlers={HTTPException: http_exception_as_problem})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://admin", timeout=60) as admin:
        assert (await admin.get("/fly/dev")).json() == {"on": False}
        for wrong in ({}, {"on": "yes"}, {"on": False, "debug": True}, {"onn": True}):
            assert (await admin.put("/fly/dev", json=wrong)).status_code == 400
        shown = (await admin.put("/fly/dev", json={"on": True})).json()
        assert (shown["on"], shown["debug"], shown["sources"]) == (True, False, ["backend"])
        assert (await admin.put("/fly/dev", json={"on": False})).json() == {"on": False}
        development.sources = Sources(tree.root, ())
        answer = await admin.put("/fly/dev", json={"on": True})
        assert (answer.status_code, "[dev] mounts" in answer.json()["detail"]) == (422, True)
    await development.close()


async def test_a_modal_stand_in_that_does_not_answer_is_named() -> None:
    assert "the Modal stand-in does not answer" in await redeploy("http://127.0.0.1:9")


def test_the_state_of_the_stack_is_no_source(tmp_path: Path) -> None:
    from parity.config.project import Project

    root = Path(__file__).parents[3]
    found = Sources.of(Project.load({"PARITY_ROOT": str(root), "PARITY_STATE_DIR": str(tmp_path)}), poll=False)
    assert found.ignored == (tmp_path,)
    assert json.dumps([found.named(path) for path in found.machines]) == '["src/backend/app", "src/backend/reel"]'
    assert root / "src/gpu" in found.functions
