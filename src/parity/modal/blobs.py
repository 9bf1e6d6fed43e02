"""Payloads over 2 MiB and files of mounts: one folder, one file each."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9-]{1,80}")


class Blobs:
    """A folder of opaque files by id. Ids are checked, so that no path can be built from a bad one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, blob_id: str) -> Path:
        """Where the blob lies or would lie. Raises KeyError for an id that is not one."""
        if not _NAME.fullmatch(blob_id):
            raise KeyError(blob_id)
        return self._folder / blob_id

    def has(self, blob_id: str) -> bool:
        return self.path(blob_id).is_file()

    def put(self, blob_id: str, data: bytes) -> str:
        """Store the blob atomically; returns the MD5 in hex, which the SDK compares with the ETag."""
        target = self.path(blob_id)
        handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=".")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(target)
        return hashlib.md5(data, usedforsecurity=False).hexdigest()

    def get(self, blob_id: str) -> bytes:
        """Raises KeyError for a blob that is not there."""
        try:
            return self.path(blob_id).read_bytes()
        except FileNotFoundError:
            raise KeyError(blob_id) from None
