"""Health and release: `/`, `/api/health`, `/api/status`."""

import asyncio
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from app import problems, version
from app.core import Core
from app.dependencies import CoreDep
from app.models import View
from app.routes.probes import modal_address, probe_modal
from app.storage.interface import StorageError

router = APIRouter(tags=["health"], responses=problems.responses(*problems.ANYWHERE))


class Root(View):
    service: Literal["reel-ballers-api"] = "reel-ballers-api"
    health: Literal["/api/health"] = "/api/health"
    docs: Literal["/docs"] = "/docs"


class Health(View):
    status: Literal["ok"] = "ok"


class Reachability(View):
    """Whether another service answers; `reachable` is null where it is switched off."""

    enabled: bool
    reachable: bool | None
    detail: str | None = Field(
        default=None,
        description="Why it does not answer, or what is wrong although it does: GPU functions older than this release.",
    )


class Status(View):
    version: str
    commit: str
    environment: str
    app_env: str
    app: str | None
    machine: str | None
    region: str | None
    r2: Reachability
    modal: Reachability


@router.get("/", summary="What this is")
async def root() -> Root:
    return Root()


@router.get("/api/health", summary="Alive; asks nothing else")
async def health() -> Health:
    return Health()


@router.get("/api/status", summary="Release, environment, and whether R2 and Modal answer")
async def status(core: CoreDep) -> Status:
    settings = core.settings
    r2, modal = await asyncio.gather(_r2(core), _modal(core))
    return Status(
        version=version.VERSION,
        commit=version.commit(settings),
        environment=settings.env.value,
        app_env=settings.app_env,
        app=settings.fly_app_name or None,
        machine=settings.fly_machine_id or None,
        region=settings.fly_region or None,
        r2=r2,
        modal=modal,
    )


async def _r2(core: Core) -> Reachability:
    if not core.settings.r2_enabled:
        return Reachability(enabled=False, reachable=None)
    try:
        async with asyncio.timeout(core.settings.status_probe_seconds):
            await core.store.probe()
    except TimeoutError:
        return Reachability(enabled=True, reachable=False, detail="no answer in time")
    except StorageError as error:
        return Reachability(enabled=True, reachable=False, detail=str(error)[:200])
    return Reachability(enabled=True, reachable=True)


async def _modal(core: Core) -> Reachability:
    if not core.settings.modal_enabled:
        return Reachability(enabled=False, reachable=None)
    try:
        async with asyncio.timeout(core.settings.status_probe_seconds):
            await probe_modal(modal_address(core.settings.modal_server_url))
    except TimeoutError:
        return Reachability(enabled=True, reachable=False, detail="no answer in time")
    except OSError as error:
        return Reachability(enabled=True, reachable=False, detail=str(error)[:200])
    return Reachability(enabled=True, reachable=True, detail=core.gpu.problem if core.gpu else None)
