"""Start and stop of the process: logs the version, runs the lifespans of all parts, and closes everything."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from app import version
from app.core import Core

log = logging.getLogger(__name__)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
"""What a part does around serving: the code before its yield at start, the code after it at stop. `app.state.core`
exists in both. At stop the last to start ends first, while databases and store still work."""


def make_lifespan(core: Core, parts: Sequence[Lifespan]) -> Lifespan:
    """The lifespan of the whole application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        settings = core.settings
        settings.user_data_dir.mkdir(parents=True, exist_ok=True)
        commit = await asyncio.to_thread(version.commit, settings)
        log.info("reel-ballers %s (%s), ENV=%s, APP_ENV=%s", version.VERSION, commit, settings.env, settings.app_env)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(core.close)
            for part in parts:
                await stack.enter_async_context(part(app))
            yield
        log.info("stopped")

    return lifespan
