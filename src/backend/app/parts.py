"""Lists the routers and lifespans of all parts of the application; a new part adds its lines here."""

from fastapi import APIRouter

from app import websockets
from app.clips import routes as clip_routes
from app.exports import routes as export_routes
from app.games import routes as game_routes
from app.jobs import lifespan as job_lifespan
from app.lifecycle import Lifespan
from app.profiles import profile_settings_routes
from app.profiles import routes as profile_routes
from app.projects import routes as project_routes
from app.routes import health, storage_urls


def routers() -> tuple[APIRouter, ...]:
    """Every router, in the order of the OpenAPI document."""
    return (
        health.router,
        profile_routes.router,
        profile_settings_routes.router,
        game_routes.router,
        clip_routes.router,
        project_routes.router,
        export_routes.router,
        storage_urls.router,
        websockets.router,
    )


def lifespans() -> tuple[Lifespan, ...]:
    """Every part's lifespan, in the order of start."""
    return (job_lifespan.lifespan,)
