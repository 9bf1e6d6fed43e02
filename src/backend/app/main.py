"""The application: `uvicorn app.main:app`, or `create_app` with other settings or another store."""

import gc
import logging
from typing import Final

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from app import error_handlers, openapi, parts, version
from app.core import build, make_store
from app.lifecycle import make_lifespan
from app.middleware.access import AccessMiddleware
from app.middleware.body_limit import BodyLimitMiddleware
from app.middleware.database_sync import DatabaseSyncMiddleware
from app.middleware.head import HeadMiddleware
from app.middleware.no_store import NoStoreMiddleware
from app.middleware.owner import OwnerMiddleware
from app.middleware.request_id import RequestIdMiddleware
from app.middleware.unexpected import UnexpectedErrorMiddleware
from app.middleware.user_context import UserContextMiddleware
from app.routes import local_objects
from app.server import log_no_queries
from app.settings import Settings, load
from app.storage.interface import ObjectStore
from app.storage.local import LocalStore

LOCAL_ORIGINS: Final = ("http://localhost:5173", "http://localhost:3000")
OPEN_PATHS: Final = frozenset({"/", "/api/health", "/api/status", "/docs", "/openapi.json"})
DESCRIPTION: Final = """
**`X-User-ID` is not authentication.** It names the user of a request, and the API does not verify it: everyone who can
reach this API can read, change and delete the data of every user. Set `ACCESS_TOKEN` before strangers can reach the
API; then every request needs `Authorization: Bearer TOKEN`, and a WebSocket the sub-protocol `token.` followed by the
token in base64url. The token does not distinguish users.
"""
EXPOSED_HEADERS: Final = ("X-Sync-Status", "X-Sync-Position", "Retry-After", "Content-Disposition", "Location", "ETag")


def middleware(settings: Settings) -> list[Middleware]:
    """The middleware from the outermost in. CORS is outermost, so that a browser can read every answer."""
    origins = (*LOCAL_ORIGINS, *settings.cors_origins)
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_credentials=True,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
            max_age=600,
        ),
        Middleware(RequestIdMiddleware),
        Middleware(HeadMiddleware),
        Middleware(NoStoreMiddleware, except_below=local_objects.PATH_PREFIX),
        Middleware(UnexpectedErrorMiddleware, show_details=settings.development),
        Middleware(
            BodyLimitMiddleware,
            limit=settings.max_body_bytes,
            seconds=settings.max_body_seconds,
            unlimited=(local_objects.PATH_PREFIX,),
        ),
        Middleware(
            AccessMiddleware,
            token=settings.access_token,
            open_paths=OPEN_PATHS,
            open_prefixes=(local_objects.PATH_PREFIX,),
        ),
        Middleware(UserContextMiddleware, origins=frozenset(origins), open_paths=OPEN_PATHS),
        Middleware(OwnerMiddleware),
        Middleware(DatabaseSyncMiddleware),
    ]


def create_app(settings: Settings | None = None, store: ObjectStore | None = None) -> FastAPI:
    """Create the application. Defaults: settings from the environment, and the store of the settings.

    Raises `SettingsError` for wrong environment variables.
    """
    settings = settings or load()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    log_no_queries()
    logging.getLogger("app").setLevel(logging.DEBUG if settings.debug else logging.INFO)
    store = store or make_store(settings)
    core = build(settings, store)
    app = FastAPI(
        title="Reel Ballers API",
        description=DESCRIPTION,
        version=version.VERSION,
        lifespan=make_lifespan(core, parts.lifespans()),
        middleware=middleware(settings),
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        # A trailing slash gets 404, because with a redirect some clients lose the body of a POST.
        redirect_slashes=False,
    )
    app.state.core = core
    error_handlers.install(app)
    for router in parts.routers():
        app.include_router(router)
    if isinstance(store, LocalStore):
        app.include_router(local_objects.router)
    openapi.install(app, settings)
    return app


def __getattr__(name: str) -> FastAPI:
    # `app.main:app` is created on first access, so that importing `create_app` does not read the environment.
    if name == "app":
        made = create_app()
        # Exclude imported objects from garbage collection; a full collection would delay all requests by about 30 ms.
        gc.freeze()
        globals()["app"] = made
        return made
    raise AttributeError(name)
