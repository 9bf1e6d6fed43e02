"""`parity dev --debug` with processes: an editor attaches to a Machine, and nothing gives up while it is stopped."""

import asyncio
from pathlib import Path

import pytest
from tests.parity.debug.dap import attached, line_of
from tests.parity.fly.support import StartEdge, until
from tests.parity.fly.test_development import Tree, no_functions

from parity.fly.development import Development, Sources
from parity.fly.machines.state import State


@pytest.fixture
async def tree(tmp_path: Path, start_edge: StartEdge) -> Tree:
    from tests.parity.fly.support import QUICK, UVICORN

    from parity.fly.machines.process import ProcessDriver
    from parity.fly.server import loopback_peers

    made = Tree(tmp_path / "checkout")
    driver = ProcessDriver(made.root, "backend", UVICORN, made.root / "state", loopback_peers()[2])
    made.edge = await start_edge(driver=driver, checks=QUICK)
    made.development = Development(made.edge.standin.fleet, Sources(made.root, (made.folder,)), no_functions)
    return made


async def test_a_breakpoint_in_a_handler_is_hit_and_an_edit_meanwhile_lets_go(tree: Tree) -> None:
    development, fleet = tree.development, tree.edge.standin.fleet
    await development.switch(on=True, timeout_s=60, debug=True)
    port = await development.relay.open("127.0.0.1", 0)
    try:
        await tree.says("one")
        line = line_of(tree.module, "a line for a breakpoint")
        async with attached(port, tree.module, line) as client:
            asked = asyncio.create_task(tree.get("/stop"))
            assert await client.where() == (str(tree.module), line)
            assert fleet.paused()
            checked = tree.edge.machine.checks
            assert checked is not None
            assert not checked.failing
            await client.go_on()
            assert (await asked).text == "one"
            asked = asyncio.create_task(tree.get("/stop"))
            await client.where()
            tree.say("two")  # the program is stopped: the edit lets it run on, to its end
            assert (await asked).text == "one"
        await tree.says("two")
        assert tree.edge.machine.as_json()["debug"] is True
        await development.switch(on=True, timeout_s=60)
        assert tree.edge.machine.as_json()["debug"] is False
        assert not fleet.paused()
    finally:
        await development.close()
    await until(lambda: tree.edge.machine.state is State.STARTED, "started")
