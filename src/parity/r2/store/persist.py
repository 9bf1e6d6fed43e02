"""Saves the moto store to disk: a manifest and one file per body.

Only bodies that are new since the last save are written; large ones already are files. Bodies are synced before the
manifest that names them and their digests. A manifest is written beside the old one, synced and renamed, and contains a
digest of itself, so it is complete or absent. The previous manifest is kept; loading takes the newest one that is
complete, bodies included.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

from parity.config.errors import ConfigError
from parity.r2.configuration import Configurations
from parity.r2.content import BlobFolder, Content
from parity.r2.pieces import Blob, Piece
from parity.r2.store.interface import Attributes, Checksum, ObjectInfo, UploadInfo
from parity.r2.store.moto import MotoStore

FORMAT = 2
_NAMES = ("manifest.json", "manifest.previous.json")


class TornSave(Exception):
    """A manifest, or a body that it names, is missing or damaged."""


class Saves:
    """The folder of one store: ``blobs/`` and the manifests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.blobs = BlobFolder(folder / "blobs")
        # Bodies that the last two manifests name are kept, even if their objects were deleted.
        self._pinned: list[list[Blob]] = []
        # Whether the newer manifest may replace the previous one; a damaged one must not.
        self._current_is_whole = False

    def file(self, state: dict[str, Any]) -> list[Blob]:
        """Write a file in this folder for each body of a state of ``collect``. Blocking; call it in a thread."""
        return [self._file_of(piece) for entry in _entries(state) for piece in entry["content"].pieces]

    def save(self, state: dict[str, Any]) -> None:
        """Write a state of ``collect``. Blocking; call it in a thread."""
        pinned: list[Blob] = []
        for entry in _entries(state):
            blobs = [self._file_of(piece) for piece in entry.pop("content").pieces]
            pinned += blobs
            entry["blobs"] = [[blob.path.name, blob.size, blob.sha256] for blob in blobs]
        _sync_folder(self.blobs.path)
        body = json.dumps(state, separators=(",", ":")).encode()
        head = json.dumps({"format": FORMAT, "sha256": hashlib.sha256(body).hexdigest()}).encode()
        current, previous = (self.folder / name for name in _NAMES)
        part = current.with_suffix(".part")
        _write_synced(part, head + b"\n" + body)
        if self._current_is_whole:
            current.replace(previous)
        part.replace(current)
        _sync_folder(self.folder)
        self._current_is_whole = True
        self._pinned = [*self._pinned[-1:], pinned]

    def _file_of(self, piece: Piece) -> Blob:
        """A synced file in this folder with the piece's bytes: the piece's own file, a hard link to it, or a new
        file."""
        file = piece.in_file(self.blobs.write)
        file.seal()
        if file.path.parent == self.blobs.path:
            return file
        path = self.blobs.new_path()
        os.link(file.path, path)
        return Blob(path, file.size, file.sha256)

    def take_over(self, state: dict[str, Any]) -> None:
        """Move the bodies of a state that was loaded from another folder to this one, so that the other folder can be
        removed."""
        for entry in _entries(state):
            blobs = tuple(map(self._file_of, entry["content"].pieces))
            entry["content"] = Content(blobs, entry["content"].size)

    def keep(self) -> None:
        """Keep all saved and loaded files when their objects are garbage-collected."""
        for blobs in self._pinned:
            for blob in blobs:
                blob.keep()

    @property
    def _marker(self) -> Path:
        return self.folder / "unsaved.json"

    def mark_unsaved(self, since: float) -> None:
        """Write a marker: changes after ``since``, in seconds since the epoch, are not saved."""
        part = self._marker.with_suffix(".part")
        _write_synced(part, json.dumps({"since": since}).encode())
        part.replace(self._marker)

    def unmark(self) -> None:
        """Remove the marker: everything is saved."""
        self._marker.unlink(missing_ok=True)

    def unsaved_since(self) -> float | None:
        """The time from which writes of an earlier, killed run may be missing; ``None`` when it saved everything."""
        try:
            return float(json.loads(self._marker.read_bytes())["since"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return self._marker.stat().st_mtime

    def load(self) -> dict[str, Any] | None:
        """The newest complete state, its entries with ``content``; ``None`` when nothing was ever saved.

        Raises ``ConfigError`` when there are manifests and none is complete: starting empty would hide a loss of data.
        """
        problems: list[str] = []
        for name in _NAMES:
            path = self.folder / name
            if not path.exists():
                continue
            try:
                state = self._restore(path)
            except TornSave as error:
                problems.append(f"{name}: {error}")
            else:
                self._current_is_whole = name == _NAMES[0]
                return state
        if problems:
            raise ConfigError(
                str(self.folder),
                "; ".join(problems),
                "a save that is whole",
                "remove the folder to start with an empty bucket",
            )
        self.blobs.sweep(set())
        return None

    def _restore(self, path: Path) -> dict[str, Any]:
        head, _, body = path.read_bytes().partition(b"\n")
        try:
            told = json.loads(head)
        except ValueError:
            raise TornSave("its first line is not readable") from None
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise TornSave(f"it is not of format {FORMAT}")
        if hashlib.sha256(body).hexdigest() != told.get("sha256"):
            raise TornSave("its contents are not what was written")
        state: dict[str, Any] = json.loads(body)
        entries = list(_entries(state))
        wanted = {name: (size, sha256) for entry in entries for name, size, sha256 in entry["blobs"]}
        for name, (size, sha256) in wanted.items():
            _check(self.blobs.path / name, size, sha256)
        self.blobs.sweep(set(wanted))
        blobs = {name: Blob(self.blobs.path / name, size, sha256) for name, (size, sha256) in wanted.items()}
        for entry in entries:
            pieces = tuple(blobs[name] for name, *_ in entry["blobs"])
            entry["content"] = Content(pieces, sum(piece.size for piece in pieces))
        self._pinned = [list(blobs.values())]
        return state


def _check(body: Path, size: int, sha256: str) -> None:
    """Raises ``TornSave`` for a body that differs from the saved one."""
    if not body.exists() or body.stat().st_size != size:
        raise TornSave(f"the body {body.name} is missing or not {size} bytes long")
    with body.open("rb", buffering=0) as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise TornSave(f"the body {body.name} is not what was written")


def _entries(state: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for bucket in state["buckets"]:
        yield from bucket["objects"]
        for upload in bucket["uploads"]:
            yield from upload["parts"]


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def collect(store: MotoStore, configured: Configurations, policy_source: str) -> dict[str, Any]:
    """One consistent state, without copying bodies. ``policy_source`` is the digest of the policy file."""
    with store.frozen():
        buckets = [
            {
                "name": bucket.name,
                "created": bucket.creation_date.timestamp(),
                "objects": [_object_entry(key.r2_info, key.r2_content) for key in bucket.keys.values()],
                "uploads": [
                    {
                        **_info_entry(upload.r2_info),
                        "parts": [_object_entry(key.r2_info, key.r2_content) for key in upload.parts.values()],
                    }
                    for upload in bucket.multiparts.values()
                ],
            }
            for bucket in store.models()
        ]
    return {
        "buckets": buckets,
        "configurations": configured.to_json(),
        "policy_source": policy_source,
    }


def _object_entry(info: ObjectInfo, content: Content) -> dict[str, Any]:
    return {
        "key": info.key,
        "size": info.size,
        "etag": info.etag,
        "modified": info.modified,
        **_attributes_entry(info.attributes),
        "part_sizes": list(info.part_sizes),
        "content": content,
    }


def _info_entry(info: UploadInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "key": info.key,
        "initiated": info.initiated,
        **_attributes_entry(info.attributes),
    }


def _attributes_entry(attributes: Attributes) -> dict[str, Any]:
    return {
        "headers": dict(attributes.headers),
        "storage_class": attributes.storage_class,
        "written_key": attributes.written_key,
        "customer_key": attributes.customer_key,
        "checksum": astuple(attributes.checksum) if attributes.checksum else None,
    }


def _attributes(entry: dict[str, Any]) -> Attributes:
    # Saves of before 2026-11-27 have none of the last three.
    checksum = entry.get("checksum")
    return Attributes(
        entry["headers"],
        entry["storage_class"],
        entry.get("written_key", ""),
        Checksum(*checksum) if checksum else None,
        entry.get("customer_key", ""),
    )


def _object_info(entry: dict[str, Any]) -> ObjectInfo:
    attributes = _attributes(entry)
    sizes = tuple(entry["part_sizes"])
    return ObjectInfo(entry["key"], entry["size"], entry["etag"], entry["modified"], attributes, sizes)


def install(store: MotoStore, configured: Configurations, state: dict[str, Any]) -> None:
    """Fill an empty store and its bucket configuration from a state of ``Saves.load``."""
    for bucket in state["buckets"]:
        store.create_bucket_now(bucket["name"], bucket["created"])
        for entry in bucket["objects"]:
            store.put_now(bucket["name"], _object_info(entry), entry["content"])
        for upload in bucket["uploads"]:
            info = UploadInfo(upload["id"], upload["key"], upload["initiated"], _attributes(upload))
            store.create_upload_now(bucket["name"], info)
            for part in upload["parts"]:
                store.put_part_now(bucket["name"], info.key, info.id, _object_info(part), part["content"])
    # Saves of before 2026-11-27 have CORS policies only.
    configured.load(state["configurations"] if "configurations" in state else {"cors": state["policies"]})
