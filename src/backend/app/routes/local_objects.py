"""Serves the presigned URLs of the local store; exists only where R2 is off."""

from pathlib import Path

import anyio
from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response

from app import problems
from app.dependencies import SettingsDep, StoreDep
from app.storage.interface import ObjectStore
from app.storage.local import PATH_PREFIX, LocalStore

router = APIRouter(
    tags=["local objects"], responses=problems.responses(problems.FORBIDDEN, problems.NOT_FOUND, problems.INTERNAL)
)
__all__ = ["PATH_PREFIX", "router"]


def _verified(request: Request, store: ObjectStore, key: str) -> LocalStore:
    assert isinstance(store, LocalStore)  # main registers this router for no other
    method = "GET" if request.method == "HEAD" else request.method
    try:
        store.verify(method, key, dict(request.query_params))
    except PermissionError as error:
        raise problems.FORBIDDEN.error(f"{error}: ask the API for a new one") from error
    return store


@router.head(PATH_PREFIX + "{key:path}", include_in_schema=False)
@router.get(PATH_PREFIX + "{key:path}", summary="Read an object by presigned URL")
async def read(key: str, request: Request, store: StoreDep) -> FileResponse:
    local = _verified(request, store, key)
    return FileResponse(local.file(key), filename=request.query_params.get("filename"))


@router.put(PATH_PREFIX + "{key:path}", summary="Write an object or a part by presigned URL")
async def write(key: str, request: Request, store: StoreDep, settings: SettingsDep) -> Response:
    local = _verified(request, store, key)
    wanted = request.query_params.get("content_type")
    if wanted is not None and request.headers.get("content-type") != wanted:
        raise problems.FORBIDDEN.error(f"The URL was signed for Content-Type {wanted!r}")
    size = request.query_params.get("size")
    if size is not None and request.headers.get("content-length") != size:
        raise problems.FORBIDDEN.error(f"The URL was signed for Content-Length {size}")
    keep = local.incoming(key, dict(request.query_params))
    async with anyio.NamedTemporaryFile("wb", dir=str(settings.user_data_dir), prefix=".incoming-") as file:
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > settings.max_upload_bytes:
                raise problems.BODY_TOO_LARGE.error(f"The file is larger than {settings.max_upload_bytes} bytes")
            await file.write(chunk)
        await file.flush()
        source = Path(str(file.name))
        etag = await anyio.to_thread.run_sync(keep, lambda target: _link(source, target))
    return Response(status_code=200, headers={"ETag": etag})


def _link(source: Path, target: Path) -> None:
    target.hardlink_to(source)
