"""Every upload is a plain PUT: what another Machine put there meanwhile is overwritten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


def wrap(app: Any) -> Any:
    store = app.state.core.store
    conditional = store.put_bytes

    async def plain(
        key: str,
        data: bytes,
        *,
        if_match: str | None = None,  # noqa: ARG001  # what the variant ignores
        if_none_match: bool = False,  # noqa: ARG001
        metadata: Any = None,
    ) -> str:
        etag: str = await conditional(key, data, metadata=metadata)
        return etag

    async def made_and_put(make: Callable[[], Any], made: Callable[[], None]) -> str | None:
        try:
            new = await asyncio.to_thread(make)
        finally:
            made()
        return None if new is None else await plain(new.key, new.data, metadata=new.metadata)

    store.put_bytes, store.create_made = plain, made_and_put
    return app
