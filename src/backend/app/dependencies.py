"""FastAPI dependencies of the handlers: `context: ContextDep`, `session: SessionDep`, `store: StoreDep`, …

All work in HTTP and WebSocket handlers, except `SessionDep`: a WebSocket lives longer than a session may, so its
handler opens `databases.session(context)` for each read.
"""

from typing import Annotated

from fastapi import Depends, Header
from starlette.requests import HTTPConnection, Request

from app import problems
from app.context import UserContext, current_caller
from app.core import Core, core_of
from app.ids import ID_PATTERN
from app.middleware.database_sync import open_session
from app.settings import Settings
from app.storage.interface import ObjectStore
from app.storage.keys import Keys, ProfileKeys
from app.sync.interface import Databases, Session

USER_HEADER = "X-User-ID"
PROFILE_HEADER = "X-Profile-ID"
_REQUIRED = {"required": True, "pattern": ID_PATTERN}


# All are `async def`, because FastAPI runs a plain `def` in a thread, which takes longer than the function itself.
async def core(connection: HTTPConnection) -> Core:
    return core_of(connection)


CoreDep = Annotated[Core, Depends(core)]


async def settings(core: CoreDep) -> Settings:
    return core.settings


async def store(core: CoreDep) -> ObjectStore:
    return core.store


async def keys(core: CoreDep) -> Keys:
    return core.keys


async def databases(core: CoreDep) -> Databases:
    return core.databases


# The middleware has read and validated the headers (or sub-protocols of a WebSocket). Here they are declared for the
# OpenAPI document, and their presence is required.
async def user_id(
    _header: Annotated[
        str | None, Header(alias=USER_HEADER, description="The user.", json_schema_extra=_REQUIRED)
    ] = None,
) -> str:
    """The user of this request; 400 when the header is missing."""
    found = current_caller().user_id
    if found is None:
        raise _missing(USER_HEADER, "user")
    return found


UserDep = Annotated[str, Depends(user_id)]


async def profile_context(
    user: UserDep,
    core: CoreDep,
    _header: Annotated[
        str | None, Header(alias=PROFILE_HEADER, description="The user's profile.", json_schema_extra=_REQUIRED)
    ] = None,
) -> UserContext:
    """The user and profile of this request; 400 when a header is missing, 404 when there is no such profile."""
    profile = current_caller().profile_id
    if profile is None:
        raise _missing(PROFILE_HEADER, "profile")
    context = UserContext(user, profile)
    if not await core.profiles.exists(context):
        raise problems.UNKNOWN_PROFILE.error(
            f"{PROFILE_HEADER} {profile!r} is no profile of this user; GET /api/profiles lists them"
        )
    return context


ContextDep = Annotated[UserContext, Depends(profile_context)]


async def profile_keys(context: ContextDep, core: CoreDep) -> ProfileKeys:
    return core.profile_keys(context)


async def profile_session(request: Request, context: ContextDep, core: CoreDep) -> Session:
    """This request's session; `DatabaseSyncMiddleware` settles it before the response leaves."""
    return await open_session(request, core.databases, context)


SettingsDep = Annotated[Settings, Depends(settings)]
StoreDep = Annotated[ObjectStore, Depends(store)]
KeysDep = Annotated[Keys, Depends(keys)]
DatabasesDep = Annotated[Databases, Depends(databases)]
ProfileKeysDep = Annotated[ProfileKeys, Depends(profile_keys)]
SessionDep = Annotated[Session, Depends(profile_session)]


def _missing(header: str, protocol: str) -> problems.ProblemError:
    return problems.MISSING_HEADER.error(
        f"The header {header} is missing; a WebSocket may send the sub-protocol {protocol}.ID instead"
    )
