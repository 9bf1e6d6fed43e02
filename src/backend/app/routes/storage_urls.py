"""Presigned URLs of a profile's media files."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from app import problems, side_by_side
from app.dependencies import ProfileKeysDep, SettingsDep, StoreDep
from app.models import Body, View
from app.storage.interface import ObjectMissing, ObjectStore
from app.storage.keys import RELATIVE_FORM, RELATIVE_PATTERN, InvalidKey, ProfileKeys

MAX_KEYS = 100
_AT_ONCE = 8  # the store has about this many connections

router = APIRouter(
    prefix="/api/storage", tags=["storage"], responses=problems.responses(*problems.OF_A_PROFILE, problems.NOT_FOUND)
)

_KEY_HELP = f"Key relative to the profile: {RELATIVE_FORM}."
_FILENAME = r"^[^\x00-\x1f\x7f/\\\"]{1,200}$"


class StorageUrl(View):
    key: str
    url: str
    expires_in: int = Field(description="Seconds.")


class WantedUrls(Body):
    keys: Annotated[list[str], Field(min_length=1, max_length=MAX_KEYS, description=_KEY_HELP)]


class StorageUrls(View):
    urls: list[StorageUrl]
    unknown: list[str] = Field(description="Keys that are not valid or have no object.")


@router.get("/url", summary="A URL that reads one media file")
async def url(
    key: Annotated[
        str, Query(description=_KEY_HELP, json_schema_extra={"pattern": RELATIVE_PATTERN, "maxLength": 300})
    ],
    keys: ProfileKeysDep,
    store: StoreDep,
    settings: SettingsDep,
    filename: Annotated[
        str | None, Query(description="A browser saves the file under this name.", pattern=_FILENAME)
    ] = None,
) -> StorageUrl:
    full = keys.relative(key)
    try:
        await store.head(full)
    except ObjectMissing as missing:
        raise problems.NOT_FOUND.error(f"There is no file {key!r} in this profile") from missing
    return StorageUrl(
        key=key, url=await store.presign_get(full, filename=filename), expires_in=settings.presign_seconds
    )


@router.post("/urls", summary="URLs that read several media files")
async def urls(wanted: WantedUrls, keys: ProfileKeysDep, store: StoreDep, settings: SettingsDep) -> StorageUrls:
    asked = list(dict.fromkeys(wanted.keys))
    found = await side_by_side.each(lambda key: _url_or_none(store, keys, key), asked, _AT_ONCE)
    return StorageUrls(
        urls=[
            StorageUrl(key=key, url=made, expires_in=settings.presign_seconds)
            for key, made in zip(asked, found, strict=True)
            if made is not None
        ],
        unknown=[key for key, made in zip(asked, found, strict=True) if made is None],
    )


async def _url_or_none(store: ObjectStore, keys: ProfileKeys, key: str) -> str | None:
    try:
        full = keys.relative(key)
        await store.head(full)
    except (InvalidKey, ObjectMissing):
        return None
    return await store.presign_get(full)
