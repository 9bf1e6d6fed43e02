"""The objects that the whole application shares, created once per process."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from starlette.requests import HTTPConnection

from app.context import UserContext
from app.games.upload_plan import urls_seconds
from app.profiles.registry import Profiles
from app.replication.databases import ReplicatedDatabases
from app.services.gpu_deploy import GpuDeploy
from app.services.modal_client import ModalClient
from app.settings import Settings
from app.storage.interface import ObjectStore
from app.storage.keys import Keys, ProfileKeys
from app.sync.interface import Databases

INSPECTIONS_AT_ONCE: Final = 2
"""Each may hold an index of 64 MiB and run ffprobe: a Machine of 512 MB has no room for many."""

MakeStore = Callable[[Settings], ObjectStore]


@dataclass(frozen=True)
class Core:
    """The parts of a running backend. In requests `Depends(core)`, elsewhere `app.state.core`."""

    settings: Settings
    keys: Keys
    store: ObjectStore
    databases: Databases
    profiles: Profiles
    gpu: GpuDeploy | None = None
    """What the deployed GPU functions understand; None where MODAL_ENABLED is off."""
    inspections: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(INSPECTIONS_AT_ONCE))
    """Acquired while a finished upload is inspected."""

    def profile_keys(self, context: UserContext) -> ProfileKeys:
        """The keys of one profile."""
        return self.keys.profile(context)

    async def close(self) -> None:
        """Closes the databases before the store, because their last uploads need it."""
        await self.databases.close()
        await self.store.close()


def make_store(settings: Settings) -> ObjectStore:
    """R2, or local files if R2 is off. boto3 is not imported here but by the first call, to start faster."""
    if settings.r2_enabled:
        from app.storage.r2 import R2Store

        return R2Store(settings)
    from app.storage.local import LocalStore

    return LocalStore(settings.user_data_dir / ".objects", settings.local_storage_url, settings.presign_seconds)


def build(settings: Settings, store: ObjectStore) -> Core:
    """Creates the parts; does no I/O."""
    keys = Keys(settings.app_env)
    profiles = Profiles(
        store, keys, settings.profile_cache_seconds, settings.sync_retention_days * 86400.0, urls_seconds(settings)
    )
    return Core(
        settings=settings,
        keys=keys,
        store=store,
        databases=ReplicatedDatabases(store, keys, settings, profiles.was_begun),
        profiles=profiles,
        gpu=GpuDeploy(ModalClient(settings)) if settings.modal_enabled else None,
    )


def core_of(connection: HTTPConnection) -> Core:
    """The core of the application that serves this request or WebSocket."""
    core: Core = connection.app.state.core
    return core
