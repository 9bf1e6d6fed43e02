"""The registry of each user's profiles in the object store, changed by compare-and-swap."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from app import problems
from app.context import UserContext
from app.ids import is_id, new_id
from app.profiles.model import ACTIVE, DELETED, DELETING, Entry, Registry, RegistryError, decode, encode
from app.replication import deletion
from app.storage.interface import ObjectMissing, ObjectStore, PreconditionFailed, StorageUnavailable
from app.storage.keys import Keys
from app.storage.retry import Policy

# How long writes of the same document by others may conflict with ours.
_RETRY = Policy(attempts=8, first=0.05, longest=3.0)


class Profiles:
    """Profiles of all users. Methods raise `StorageUnavailable`, and problems where their docstrings say so.

    The existence of a profile is cached for `cache_seconds`; its absence is not cached. The files that a deleted
    profile leaves stay for `retention` seconds, so that Machines which do not know of the deletion cannot write to it.
    An upload that began before the deletion may arrive within `urls` seconds.
    """

    def __init__(
        self, store: ObjectStore, keys: Keys, cache_seconds: float, retention: float, urls: float = 0.0
    ) -> None:
        self._store = store
        self._keys = keys
        self._cache_seconds = cache_seconds
        self._retention = retention
        self._urls = urls
        self._known: dict[UserContext, float] = {}

    async def exists(self, context: UserContext) -> bool:
        """Whether the profile is active. A profile with objects but without an entry (older data) is adopted.

        Raises a gone problem for a deleted profile.
        """
        now = asyncio.get_running_loop().time()
        if self._known.get(context, 0.0) > now:
            return True
        registry = (await self._load(context.user_id))[0]
        entry = registry.find(context.profile_id)
        if entry is None:
            if not await self._holds_data(context):
                return False
            registry = await self._change(context.user_id, lambda old: _adopted(old, [context.profile_id]))
            entry = registry.find(context.profile_id)
        if entry is None or entry.state != ACTIVE:
            self._known.pop(context, None)
            raise gone(context.profile_id)
        if context.profile_id not in registry.begun:
            await self._note_begun(context)
        self._remember(context, now)
        return True

    async def was_begun(self, context: UserContext) -> bool:
        """Whether the registry records that the profile's log has files."""
        return context.profile_id in (await self._load(context.user_id))[0].begun

    async def registry(self, user_id: str) -> Registry:
        """The current registry. If there is none, one is created with the profiles that have objects."""
        registry, etag = await self._load(user_id)
        if etag is not None:
            return registry
        folders = await self._store.list_folders(self._keys.profiles_folder(user_id))
        found = [name for name in folders if is_id(name) and await self._holds_data(UserContext(user_id, name))]
        return await self._change(user_id, lambda old: _adopted(old, found)) if found else registry

    async def create(self, user_id: str, name: str, profile_id: str | None) -> tuple[Entry, Registry]:
        """Create a profile, with a new id unless the caller chose one.

        Raises a conflict if the id is in use, and a gone problem if it was deleted, because an id is never reused.
        """
        entry = Entry(profile_id or new_id("p"), name, _now(), _now())
        context = UserContext(user_id, entry.id)
        if profile_id is not None:
            # If the id has data without a registry entry, adopt them before a new profile gets the id.
            await self.registry(user_id)
            # Another Machine may have deleted it in the meantime.
            self._known.pop(context, None)
            if await self.exists(context):
                raise taken(entry.id)
        # Before the registry has the profile, because from then on an empty log counts as damage.
        await deletion.begin(self._store, self._keys.profile(context))

        def add(old: Registry) -> Registry:
            existing = old.find(entry.id)
            if existing is not None and existing.created_at == entry.created_at:
                return old  # this call has stored it, but the response was lost
            if existing is not None:
                raise gone(entry.id) if existing.state != ACTIVE else taken(entry.id)
            return old.with_entry(entry).with_begun(entry.id)

        registry = await self._change(user_id, add)
        self._remember(context, asyncio.get_running_loop().time())
        return entry, registry

    async def rename(self, user_id: str, profile_id: str, name: str) -> Registry:
        """Raises an unknown-profile problem."""
        return await self._change(
            user_id, lambda old: old.with_entry(replace(require(old, profile_id), name=name, updated_at=_now()))
        )

    async def select(self, user_id: str, profile_id: str) -> Registry:
        """Raises an unknown-profile problem."""

        def change(old: Registry) -> Registry:
            require(old, profile_id)
            return old.with_selected(profile_id)

        return await self._change(user_id, change)

    async def delete(
        self, context: UserContext, end_uploads: Callable[[UserContext], Awaitable[None]] | None = None
    ) -> int:
        """Delete a profile and its objects, and return their number. `end_uploads` is called before the first deletion.

        The profile is marked as deleted before its first object is deleted. The next call continues an interrupted
        deletion. Raises an unknown-profile problem if the profile never existed, and a gone problem if nothing is left
        to delete.
        """

        def begin(old: Registry) -> Registry:
            entry = old.find(context.profile_id)
            if entry is None:
                raise unknown(context.profile_id)
            if entry.state == DELETED:
                raise gone(context.profile_id)
            return old.with_state(context.profile_id, DELETING, _now())

        await self._change(context.user_id, begin)
        self._known.pop(context, None)
        if end_uploads is not None:
            await end_uploads(context)
        count = await self._empty(context)
        await self._change(context.user_id, lambda old: old.with_state(context.profile_id, DELETED, _now()))
        return count

    async def sweep(self, user_id: str) -> int:
        """Delete the remaining objects of the user's deleted profiles, and return their number.

        These are objects that arrived after the deletion (an upload with a URL signed before, a file that a Machine
        stored late), and files that had to stay for a while. An interrupted deletion is completed. A profile that can
        have no objects any more is skipped from then on.
        """
        registry, count = (await self._load(user_id))[0], 0
        for entry in registry.entries:
            since = self._store.sure_date() - datetime.fromisoformat(entry.updated_at).timestamp()
            if entry.state == ACTIVE or entry.id in registry.cleared or since < self._urls:
                continue
            count += await self._empty(UserContext(user_id, entry.id))
            if entry.state == DELETING:
                await self._change(
                    user_id, partial(Registry.with_state, profile_id=entry.id, state=DELETED, now=_now())
                )
            elif since > self._retention + self._urls:
                await self._change(user_id, partial(Registry.with_cleared, profile_id=entry.id))
        return count

    async def _empty(self, context: UserContext) -> int:
        return await deletion.empty(self._store, self._keys.profile(context), self._retention, self._urls)

    async def _holds_data(self, context: UserContext) -> bool:
        """Whether the profile has objects that an interrupted creation would not have left."""
        keys = self._keys.profile(context)
        found = [item.key for item in await self._store.list(keys.prefix, limit=2)]
        return bool(found) and found != [keys.database_folder + deletion.FIRST.name]

    async def _note_begun(self, context: UserContext) -> None:
        """Record that the log of a profile of an earlier release has files."""
        if await self._store.list(self._keys.profile(context).database_folder, limit=1):
            await self._change(context.user_id, lambda old: old.with_begun(context.profile_id))

    def _remember(self, context: UserContext, now: float) -> None:
        if len(self._known) >= 10_000:
            self._known.clear()
        self._known[context] = now + self._cache_seconds

    async def _load(self, user_id: str) -> tuple[Registry, str | None]:
        try:
            stored = await self._store.get_bytes(self._keys.registry(user_id))
        except ObjectMissing:
            return Registry(), None
        try:
            return decode(stored.data), stored.etag
        except RegistryError as error:
            raise StorageUnavailable(str(error)) from error

    async def _change(self, user_id: str, change: Callable[[Registry], Registry]) -> Registry:
        """Read, change and write the document; repeat if another process changed it in between."""
        key = self._keys.registry(user_id)
        for wait in (*_RETRY.waits(), None):
            old, etag = await self._load(user_id)
            new = change(old)
            if new == old:
                return old
            try:
                await self._store.put_bytes(key, encode(new), if_match=etag, if_none_match=etag is None)
                return new
            except PreconditionFailed as error:
                if wait is None:
                    changed = f"the list of profiles changed {_RETRY.attempts} times while it was written"
                    raise StorageUnavailable(changed) from error
            await asyncio.sleep(wait)
        raise AssertionError("the last try returns or raises")


def unknown(profile_id: str) -> problems.ProblemError:
    """The problem of a profile that does not exist."""
    return problems.UNKNOWN_PROFILE.error(f"There is no profile {profile_id!r}; GET /api/profiles lists them")


def gone(profile_id: str) -> problems.ProblemError:
    """The problem of a profile that was deleted."""
    return problems.GONE.error(f"Profile {profile_id!r} was deleted; its id is never used again")


def taken(profile_id: str) -> problems.ProblemError:
    """The problem for an id that is in use."""
    return problems.CONFLICT.error(f"There is a profile {profile_id!r} already; choose another id")


def require(registry: Registry, profile_id: str) -> Entry:
    """The active entry; raises an unknown-profile problem, or a gone problem for a deleted one."""
    entry = registry.find(profile_id)
    if entry is None:
        raise unknown(profile_id)
    if entry.state != ACTIVE:
        raise gone(profile_id)
    return entry


def _adopted(registry: Registry, profile_ids: list[str]) -> Registry:
    for profile_id in profile_ids:
        if registry.find(profile_id) is None:
            registry = registry.with_entry(Entry(profile_id, profile_id, _now(), _now()))
    return registry


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
