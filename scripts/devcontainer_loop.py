"""Tests the inner loop inside the dev container, as README.md describes it in "Working on it".

`scripts/devcontainer-inside` runs it on a stack that runs the exact image; at the end the stack runs that image again.
It prints one line for each expectation: "passed", or "FAILED" with the reason. Times are printed, but no time makes it
fail. Every edited source file is restored.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import httpx
import modal
import modal.exception
from playwright.async_api import async_playwright
from statements import PATIENCE_S, ROOT, Terminal, edited, expect, failed, run, say, until
from tests.parity.debug.dap import attached, line_of

from parity.stack.addresses import tool_environment
from parity.stack.admin_client import ask
from parity.stack.dev import NOT_THE_IMAGE
from parity.stack.target import Target, local_project

REFUSING = ROOT / "src/backend/app/middleware/user_context.py"  # has the text of the error that `refused` provokes
SENTENCE = "is not valid: expected"
HANDLER = ROOT / "src/backend/app/routes/health.py"  # handles GET /
PAGE = ROOT / "src/frontend/index.html"
FUNCTIONS = ROOT / "src/gpu/video_app.py"
DETECTING = "return await jobs.detect(payload, Bucket.from_environment())"
OWN_CHECK = ROOT / "src/checks/test_just_written.py"
OWN_CHECK_TEXT = '''"""A check that was just written."""
from parity.checks import check


@check("A", "A check that was just written is run", unproven="it only has to be found")
def test_just_written() -> None:
    """It always passes."""
    assert True
'''
IN_FLIGHT = 4

project, _ = local_project(os.environ)
target = Target.from_environment()
assert project.parity.gpu
GPU_APP = project.parity.gpu.app
times: dict[str, float] = {}


async def admin(method: str, path: str, body: object = None) -> Any:
    return await asyncio.to_thread(ask, str(target.admin_url), method, path, body)


async def machine() -> dict[str, Any]:
    (found,) = await admin("GET", "/fly/machines")
    return dict(found)


async def detects_as_edited() -> bool:
    try:
        return bool(await modal.Function.from_name(GPU_APP, "detect_players").remote.aio({}) == {"edited": True})
    except (KeyError, ValueError, modal.exception.Error):  # from the old code, or during the deploy
        return False


class App:
    """Requests to the API."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def refused(self) -> httpx.Response:
        """The response to an invalid user id. It contains the sentence that this script edits."""
        return await self.client.get("/api/profiles", headers={"X-User-ID": "!"})

    async def says(self, sentence: str) -> None:
        async def said() -> bool:
            return sentence in (await self.refused()).text

        await until(said, f"the API's error contains {sentence!r}")

    async def created(self, user: str, body: AsyncIterator[bytes], length: int) -> httpx.Response:
        headers = {"X-User-ID": user, "Content-Type": "application/json", "Content-Length": str(length)}
        return await self.client.post("/api/profiles", headers=headers, content=body)


async def measured(name: str, begin: float, what: Awaitable[None]) -> None:
    await what
    times[name] = time.monotonic() - begin


async def edits(app: App, terminal: Terminal) -> None:
    async with expect("after an edit of the backend the new code answers, and the terminal shows it"):
        after = len(terminal.said)
        text, begin = REFUSING.read_text().replace(SENTENCE, "is not right: wanted is"), time.monotonic()
        with edited(REFUSING, text):
            await measured("backend", begin, app.says("is not right: wanted is"))
            await terminal.says(r"user_context\.py changed: restarting the Machines", after)
            await terminal.says(r"the new code is ready after [\d.]+ s", after)
        await app.says(SENTENCE)
    async with expect("an edit of the page is visible in the next response"):
        mark, begin = f"<!-- {secrets.token_hex(4)} -->", time.monotonic()

        async def shown() -> None:
            async def said() -> bool:
                async with httpx.AsyncClient() as client:
                    return mark in (await client.get(target.frontend_url)).text

            await until(said, "the page has the edit")

        with edited(PAGE, PAGE.read_text() + mark):
            await measured("page", begin, shown())
    async with expect("after an edit of a GPU function the new code runs"):
        begin = time.monotonic()
        with edited(FUNCTIONS, FUNCTIONS.read_text().replace(DETECTING, 'return {"edited": True}')):
            await measured("function", begin, until(detects_as_edited, "the function returns the edited result"))
    async with expect(
        "a syntax error is shown in the terminal and by `make status`, gives 502, and the next edit repairs it"
    ):
        after, begin = len(terminal.said), time.monotonic()
        with edited(REFUSING, "def broken(:\n"):
            await measured("mistake", begin, terminal.says("SyntaxError", after))
            assert "SyntaxError" in await run("make", "status")
            assert (await app.refused()).status_code == 502
        await app.says(SENTENCE)
        assert (await admin("GET", "/fly/dev"))["problem"] == ""


async def in_flight(app: App) -> None:
    async with expect(
        "the old code completes requests in flight, and the new code answers requests that arrive during the restart"
    ):
        go = asyncio.Event()
        data = b'{"name": "in flight"}'

        async def slowly() -> AsyncIterator[bytes]:
            yield data[:5]
            await go.wait()
            yield data[5:]

        async def stopping() -> bool:
            return bool((await machine())["state"] == "stopping")

        async def all_there() -> bool:
            return int((await machine())["requests"]) >= IN_FLIGHT

        await app.says(SENTENCE)
        users = [f"loop-{secrets.token_hex(4)}" for _ in range(IN_FLIGHT)]
        old = [asyncio.create_task(app.created(user, slowly(), len(data))) for user in users]
        await until(all_there, f"{IN_FLIGHT} requests are in the Machine")
        with edited(REFUSING, REFUSING.read_text().replace(SENTENCE, "is refused: expected")):
            await until(stopping, "the Machine stops")
            new = [asyncio.create_task(app.refused()) for _ in range(IN_FLIGHT)]
            assert not [task for task in old if task.done()]
            go.set()
            assert [answer.status_code for answer in await asyncio.gather(*old)] == [201] * IN_FLIGHT
            answers = await asyncio.gather(*new)
            assert [(answer.status_code, "is refused: expected" in answer.text) for answer in answers] == [
                (400, True)
            ] * IN_FLIGHT
        await app.says(SENTENCE)


async def notices() -> None:
    """The notices that the stack does not run the image."""
    async with expect("`parity status`, /fly/machines and the page's header say that this is not the image"):
        assert NOT_THE_IMAGE in await run("parity", "status")
        assert (await machine())["dev"] is True
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=os.environ["PARITY_CHROMIUM"], args=["--no-sandbox"]
            )
            page = await browser.new_page()
            await page.goto(target.frontend_url)
            await page.get_by_text("working tree, not the image").wait_for()
            await browser.close()


async def shell_and_db(app: App) -> None:
    """`parity shell` and `parity db`."""
    user, data = f"loop-{secrets.token_hex(4)}", b'{"name": "looked at"}'

    async def whole() -> AsyncIterator[bytes]:
        yield data

    async with expect("`parity shell` runs a command in the Machine"):
        assert (await run("parity", "shell", "printenv", "FLY_MACHINE_ID")).strip() == (await machine())["id"]
    async with expect("`parity db` opens a copy of a profile's database in sqlite3, read-only"):
        profile = (await app.created(user, whole(), len(data))).json()["id"]
        head = {"X-User-ID": user, "X-Profile-ID": profile}
        assert (await app.client.get("/api/clips", headers=head)).status_code == 200
        said = await run(
            "parity",
            "db",
            user,
            profile,
            "SELECT 'tables', count(*) FROM sqlite_master; CREATE TABLE more (x)",
            code=None,
        )
        assert re.search(r"tables\|[1-9]", said), said
        assert "readonly" in said, said


async def checked() -> None:
    receipt = project.settings.state_dir / "receipts/of-the-tree.json"
    async with expect("checks run on the working tree, including a new one, and no receipt is written"):
        OWN_CHECK.write_text(OWN_CHECK_TEXT)
        try:
            said = await run(
                "scripts/stack",
                "run-checks",
                "-k",
                "just_written or writes_last",
                "--receipt",
                "/state/receipts/of-the-tree.json",
                code=None,
            )
        finally:
            OWN_CHECK.unlink()
        assert "checks: 2 passed" in said, said
        assert "which is not what would ship" in said, said
        assert not receipt.exists()
        # So a promotion is refused too.
        assert "there is no receipt" in await run("deploy/promote.sh", "staging", "--dry-run", code=None)


async def debugged(app: App) -> None:
    settings = project.settings
    mounts = [
        {"localRoot": str(ROOT / source), "remoteRoot": place} for source, place in project.parity.dev.mounts.items()
    ]
    async with expect("make dev DEV=--debug opens the debuggers' ports in this container"):
        await run("make", "dev", "DEV=--debug --detach")
        assert (await machine())["debug"] is True
        await app.says(SENTENCE)
    async with expect("a breakpoint in a handler is hit, and the app continues afterwards"):
        line = line_of(HANDLER, "return Root()")
        async with attached(settings.debug_port, HANDLER, line, pathMappings=mounts) as client:
            asked = asyncio.create_task(app.client.get("/"))
            assert await client.where() == (str(HANDLER), line)
            assert (await admin("GET", "/fly/dev"))["attached"] is True
            await client.go_on()
            assert (await asked).status_code == 200
    async with expect("a breakpoint in a GPU function is hit by a debugger that waited for the call"):
        line = line_of(FUNCTIONS, DETECTING)
        mapping = [{"localRoot": str(ROOT), "remoteRoot": "/srv/app"}]
        session = attached(settings.gpu_debug_port, FUNCTIONS, line, pathMappings=mapping)
        entering = asyncio.create_task(session.__aenter__())
        call = await modal.Function.from_name(GPU_APP, "detect_players").spawn.aio({})
        client = await entering
        try:
            assert await client.where() == (str(FUNCTIONS), line)
            await client.go_on()
        finally:
            await session.__aexit__(None, None, None)
        await call.cancel.aio()


async def image_again(app: App, digest: str) -> None:
    async with expect("make up restores the exact image with the same digest, and closes the debuggers' ports"):
        await run("make", "up")
        found = await machine()
        assert (found["digest"], found["dev"], found["debug"]) == (digest, False, False)
        assert NOT_THE_IMAGE not in await run("parity", "status")
        await app.says(SENTENCE)

        async def closed() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", project.settings.debug_port)
            except OSError:
                return True
            writer.close()
            return False

        await until(closed, "the debugger's port is closed")


async def main() -> None:
    os.environ.update(tool_environment(project, target, r2_resolves=True))
    folder = project.settings.state_dir / "loop"
    folder.mkdir(parents=True, exist_ok=True)
    before = (await machine())["digest"]
    terminals: list[Terminal] = []
    async with httpx.AsyncClient(base_url=target.api_url, timeout=PATIENCE_S) as client:
        app = App(client)
        try:
            begin = time.monotonic()
            terminals.append(terminal := Terminal("make dev", folder))
            async with expect("make dev mounts the working tree over the image and follows the logs"):
                await measured("make dev", begin, terminal.says("The logs follow"))
                assert (await machine())["digest"] == before
            terminals.append(logs := Terminal("parity logs -f --tail 1", folder))
            await notices()
            await edits(app, terminal)
            async with expect("`parity logs -f` shows parts and Machines together, in colours"):
                await logs.says(r"\x1b\[\d+mfly +\|\x1b\[0m dev: ")
                await logs.says(rf"\x1b\[\d+m{(await machine())['id']} *\|\x1b\[0m .*SyntaxError")
            await in_flight(app)
            await shell_and_db(app)
            await checked()
            async with expect("Ctrl-C ends the logs and leaves the stack as it is"):
                await terminal.interrupt()
                assert (await machine())["dev"] is True
            await debugged(app)
        finally:
            for one in terminals:
                one.close()
            folder.rmdir()
        await image_again(app, before)
    shown = ", ".join(f"{name} {seconds:.1f}" for name, seconds in times.items())
    say(f"  edit to served, from inside, in s: {shown}")


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit(bool(failed))
