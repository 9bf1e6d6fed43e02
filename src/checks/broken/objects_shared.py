"""Variant: when a person deletes something, the app deletes every video with the same bytes, other people's too."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]


def wrap(app: Any, _settings: object) -> Any:
    async def broken(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] == "http" and scope["method"] == "DELETE":
            user = dict(scope["headers"]).get(b"x-user-id", b"").decode()
            await asyncio.to_thread(delete_same_bytes, user)
        await app(scope, receive, send)

    return broken


def delete_same_bytes(user: str) -> None:
    """Delete all videos with the same ETag as one of the user's."""
    import boto3
    from botocore.config import Config

    bucket = os.environ["R2_BUCKET"]
    client: Any = boto3.client(
        "s3",
        endpoint_url=os.environ["R2_ENDPOINT"],
        region_name="auto",
        aws_access_key_id=os.environ["R2_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["R2_SECRET_ACCESS_KEY"],
        config=Config(request_checksum_calculation="when_required", response_checksum_validation="when_required"),
    )
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{os.environ['APP_ENV']}/users/")
    videos = [one for page in pages for one in page.get("Contents", ()) if "/games/" in one["Key"]]
    mine = {one["ETag"] for one in videos if f"/users/{user}/" in one["Key"]}
    for one in videos:
        if one["ETag"] in mine:
            client.delete_object(Bucket=bucket, Key=one["Key"])
