"""A debugger in a GPU function: it may connect before there is a process, and no deadline passes meanwhile."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import modal
import pytest
from tests.parity.debug.dap import attached, line_of
from tests.parity.modal.support import Stack, until

ENTRY = Path(__file__).parent / "app/deployed.py"


@pytest.fixture
def debugged(stack: Stack) -> Iterator[Stack]:
    assert stack.admin.put("/debug", json={"on": True}).status_code == 204
    yield stack
    assert stack.admin.put("/debug", json={"on": False}).status_code == 204


async def test_a_breakpoint_in_a_function_is_hit_by_a_debugger_that_waited_for_the_call(debugged: Stack) -> None:
    line = line_of(ENTRY, "return 2 * x")
    port = debugged.ports["GPU_DEBUG_PORT"]
    until(lambda: listens(port))
    session = attached(port, ENTRY, line)
    entering = asyncio.create_task(session.__aenter__())
    call = await modal.Function.from_name("reel-ballers-video", "double").spawn.aio(21)
    client = await entering
    try:
        assert await client.where() == (str(ENTRY), line)
        await client.go_on()
        assert await call.get.aio(timeout=60) == 42
    finally:
        await session.__aexit__(None, None, None)


async def test_without_a_debugger_a_call_goes_on_by_itself(debugged: Stack) -> None:
    call = await modal.Function.from_name("reel-ballers-video", "double").spawn.aio(21)
    assert await call.get.aio(timeout=60) == 42


def listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
