"""The registry document `profiles.json` and the changes to it. Pure functions."""

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from app.ids import is_id

FORMAT = 1
ACTIVE, DELETING, DELETED = "active", "deleting", "deleted"


class RegistryError(Exception):
    """The bytes are not a registry that this release can read."""


@dataclass(frozen=True)
class Entry:
    """A profile. A deleted one stays as a tombstone, so that remaining objects are never adopted as a profile again."""

    id: str
    name: str
    created_at: str
    updated_at: str
    state: str = ACTIVE


_FIELDS = tuple(item.name for item in fields(Entry))


@dataclass(frozen=True)
class Registry:
    """All profiles of a user, in the order of their creation.

    ``begun`` has the ids of profiles whose log is known to have files; if such a log is empty, it is damaged.
    ``cleared`` has the ids of deleted profiles without objects. Both are separate from the entries, because earlier
    releases refuse an entry with an unknown field.
    """

    entries: tuple[Entry, ...] = ()
    selected: str | None = None
    begun: frozenset[str] = frozenset()
    cleared: frozenset[str] = frozenset()

    def find(self, profile_id: str) -> Entry | None:
        """The entry, active or deleted; None if there is none."""
        return next((entry for entry in self.entries if entry.id == profile_id), None)

    def active(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.state == ACTIVE)

    def with_entry(self, entry: Entry) -> "Registry":
        """Replace the entry with this id, or append it. The first active profile becomes the selected one."""
        if self.find(entry.id) is None:
            entries = (*self.entries, entry)
        else:
            entries = tuple(entry if old.id == entry.id else old for old in self.entries)
        return replace(self, entries=entries)._with_valid_selection()

    def with_begun(self, profile_id: str) -> "Registry":
        return replace(self, begun=self.begun | {profile_id})

    def with_cleared(self, profile_id: str) -> "Registry":
        return replace(self, cleared=self.cleared | {profile_id})

    def with_state(self, profile_id: str, state: str, now: str) -> "Registry":
        entry = self.find(profile_id)
        return self if entry is None else self.with_entry(replace(entry, state=state, updated_at=now))

    def with_selected(self, profile_id: str) -> "Registry":
        return replace(self, selected=profile_id)

    def _with_valid_selection(self) -> "Registry":
        ids = [entry.id for entry in self.active()]
        return replace(self, selected=self.selected if self.selected in ids else next(iter(ids), None))


def encode(registry: Registry) -> bytes:
    """The registry as bytes for the store."""
    document = {
        "format": FORMAT,
        "selected": registry.selected,
        "begun": sorted(registry.begun),
        "cleared": sorted(registry.cleared),
        "profiles": [asdict(entry) for entry in registry.entries],
    }
    return json.dumps(document, indent=1, ensure_ascii=False).encode()


def decode(data: bytes) -> Registry:
    """Parse the registry. Raises `RegistryError`, because an unreadable registry must not count as empty."""
    try:
        document: Any = json.loads(data)
        if document["format"] != FORMAT:
            raise RegistryError(f"profiles.json has format {document['format']!r}, this release knows {FORMAT}")
        items = [{name: item[name] for name in _FIELDS if name in item} for item in document["profiles"]]
        entries = tuple(Entry(**item) for item in items)
        selected = document["selected"]
        begun, cleared = frozenset(document.get("begun", ())), frozenset(document.get("cleared", ()))
    except (ValueError, TypeError, KeyError) as error:
        raise RegistryError(f"profiles.json cannot be read: {error!r}") from error
    if not all(is_id(entry.id) for entry in entries):
        raise RegistryError("profiles.json has a profile without a valid id")
    return Registry(entries, selected, begun, cleared)
