"""The registry of each user's profiles in the object store, changed by compare-and-swap."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from app import problems
from app.context import UserContext
from app.ids import is_id, new_id
from app.profiles.model import ACTIVE, DELETED, DELETING, Entry, Registry, RegistryError, decode, encode
from app.replication import deletion
from app.storage.interface import ObjectMissing, ObjectStore, PreconditionFailed, StorageUnavailable
from app.storage.keys import Keys
from app.storage.retry import Policy

# Others change the same document at the same moment, for no longer than that.
_RETRY = Policy(attempts=8, first=0.05, longest=3.0)


class Profiles:
    """Profiles of all users. Methods raise `StorageUnavailable`, and problems where that is said.

    That a profile exists is remembered for `cache_seconds`; that it does not is asked again each time. For `retention`
    seconds what a profile leaves keeps Machines from writing it that did not hear of its deletion.
    """

    def __init__(self, store: ObjectStore, keys: Keys, cache_seconds: float, retention: float) -> None:
        self._store = store
        self._keys = keys
        self._cache_seconds = cache_seconds
        self._retention = retention
        self._known: dict[UserContext, float] = {}

    async def exists(self, context: UserContext) -> bool:
        """Whether the profile is active. One that has objects but no entry (older data) is adopted."""
        now = asyncio.get_running_loop().time()
        if self._known.get(context, 0.0) > now:
            return True
        entry = (await self._load(context.user_id))[0].find(context.profile_id)
        if entry is None:
            if not await self._store.list(self._keys.profile(context).prefix, limit=1):
                return False
            registry = await self._change(context.user_id, lambda old: _adopted(old, [context.profile_id]))
            entry = registry.find(context.profile_id)
        if entry is None or entry.state != ACTIVE:
            self._known.pop(context, None)
            return False
        self._remember(context, now)
        return True

    async def registry(self, user_id: str) -> Registry:
        """The registry as it is now; where there is none yet, profiles that have objects are adopted into one."""
        registry, etag = await self._load(user_id)
        if etag is not None:
            return registry
        folders = await self._store.list_folders(self._keys.profiles_folder(user_id))
        found = [name for name in folders if is_id(name)]
        return await self._change(user_id, lambda old: _adopted(old, found)) if found else registry

    async def create(self, user_id: str, name: str, profile_id: str | None) -> tuple[Entry, Registry]:
        """A new profile, with the id that the client chose, if any. Raises a conflict when that id is taken."""
        entry = Entry(profile_id or new_id("p"), name, _now(), _now())
        context = UserContext(user_id, entry.id)
        # Data of that id which no registry knows must be found before it is taken over by a new name.
        known = (await self.registry(user_id)).find(entry.id)
        await self.exists(context)
        if known is not None and known.state == DELETED:
            await self._begin_again(context)

        def add(old: Registry) -> Registry:
            existing = old.find(entry.id)
            if existing is not None and existing.state != DELETED:
                raise taken(entry.id)
            return old.with_entry(entry)

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

    async def delete(self, context: UserContext) -> int:
        """Removes a profile and its objects; how many there were.

        The profile is gone for everyone before its first object is; a deletion that was interrupted is finished by
        the next call. Raises an unknown-profile problem when there is nothing to delete.
        """

        def check(entry: Entry | None) -> None:
            if entry is None or entry.state == DELETED:
                raise unknown(context.profile_id)

        return await self._remove(context, check)

    async def _remove(self, context: UserContext, check: Callable[[Entry | None], None]) -> int:
        begun: Entry | None = None

        def begin(old: Registry) -> Registry:
            nonlocal begun
            check(old.find(context.profile_id))
            new = old.with_state(context.profile_id, DELETING, _now())
            begun = new.find(context.profile_id)
            return new

        def end(old: Registry) -> Registry:
            # Another deletion that began meanwhile ends it: not before, or a new profile would lose its first files.
            return old.with_state(context.profile_id, DELETED, _now()) if old.find(context.profile_id) == begun else old

        await self._change(context.user_id, begin)
        self._known.pop(context, None)
        count = await deletion.empty(self._store, self._keys.profile(context), self._retention)
        await self._change(context.user_id, end)
        return count

    async def _begin_again(self, context: UserContext) -> None:
        """A new database behind what the deleted profile left."""

        def check(entry: Entry | None) -> None:
            if entry is None or entry.state != DELETED:
                raise taken(context.profile_id)

        keys = self._keys.profile(context)
        if not await deletion.begin_again(self._store, keys):
            # Of an earlier release, or from a Machine that had not heard of the deletion.
            await self._remove(context, check)
            await deletion.begin_again(self._store, keys)

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
        """Reads, changes and writes back what nobody else changed meanwhile; otherwise once more."""
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


def taken(profile_id: str) -> problems.ProblemError:
    """The problem of an id that is in use."""
    return problems.CONFLICT.error(f"There is a profile {profile_id!r} already; choose another id")


def require(registry: Registry, profile_id: str) -> Entry:
    """The active entry; raises an unknown-profile problem."""
    entry = registry.find(profile_id)
    if entry is None or entry.state != ACTIVE:
        raise unknown(profile_id)
    return entry


def _adopted(registry: Registry, profile_ids: list[str]) -> Registry:
    for profile_id in profile_ids:
        if registry.find(profile_id) is None:
            registry = registry.with_entry(Entry(profile_id, profile_id, _now(), _now()))
    return registry


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
