"""Every upload is a plain PUT: what another Machine put there meanwhile is overwritten."""

from __future__ import annotations

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

    store.put_bytes = plain
    return app
