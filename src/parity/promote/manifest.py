"""Reads the manifest that a registry holds under a tag: its digest, and the config digest of the image."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from parity.promote.machines import UnreadableAnswer


@dataclass(frozen=True)
class Manifest:
    """A manifest. ``digest`` is the hash of its bytes.

    For an image, ``config_digest`` is set. For an index, ``image`` is the digest of the image manifest to read next.
    """

    digest: str
    config_digest: str = ""
    image: str = ""


def read(raw: bytes) -> Manifest:
    """Read the bytes of a manifest or an index. Raises ``UnreadableAnswer`` for anything else."""
    digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    try:
        data = json.loads(raw)
        if "manifests" in data:
            return Manifest(digest, image=_amd64(data["manifests"]))
        return Manifest(digest, config_digest=data["config"]["digest"])
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableAnswer(f"the pushed manifest cannot be read: {error!r} in {raw[:200]!r}") from None


def _amd64(manifests: list[dict[str, dict[str, str] | str]]) -> str:
    """The digest of the linux/amd64 image, the only platform of Fly. Attestations have the platform unknown/unknown."""
    found = []
    for entry in manifests:
        platform = entry.get("platform")
        if isinstance(platform, dict) and (platform.get("os"), platform.get("architecture")) == ("linux", "amd64"):
            found.append(str(entry["digest"]))
    if len(found) != 1:
        raise ValueError(f"{len(found)} images for linux/amd64, expected one")
    return found[0]
