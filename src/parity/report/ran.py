"""Asks the Fly stand-in which images the Machines of a local stack ran, and releases a newer build.

The image's name is not enough: a later build may have taken the name since the Machines started.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from parity.config.errors import ConfigError
from parity.report.engine import Engine, EngineError

# A release waits for each Machine to become healthy; fly.toml's own wait_timeout ends it earlier. Seconds.
RELEASE_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class RanImage:
    """``digest`` is the config digest, ``commit`` the image's label.

    ``variant``: a check built it from the image under test, as a broken variant. ``dev``: the working tree was mounted
    over it, so the code in the image did not run.
    """

    digest: str
    commit: str
    variant: bool
    dev: bool = False


@dataclass(frozen=True)
class Ran:
    """Every image that a Machine ran during a run. ``checkout``: the folder from which the stack was started."""

    images: tuple[RanImage, ...]
    checkout: str

    @property
    def tested(self) -> tuple[RanImage, ...]:
        """The images without the broken variants of checks."""
        return tuple(image for image in self.images if not image.variant)

    @property
    def dev(self) -> bool:
        """Whether a Machine ran the working tree. Then the results say nothing about the image."""
        return any(image.dev for image in self.images)


def images_that_ran(admin_url: str, since: float) -> Ran:
    """What ran at ``since`` (Unix seconds) or later. Raises ``ConfigError`` when the stand-in does not answer.

    Where a release is a source folder there is no image: the processes of a stack without Docker.
    """
    answer = _call("GET", f"{admin_url}/fly/images?since={since!r}")
    images = [
        RanImage(_config_digest(image["digest"]), image["commit"], image["variant"], image.get("dev", False))
        for image in answer["images"]
        if image["digest"] or image.get("dev")
    ]
    return Ran(tuple(images), answer["checkout"])


def release_newer_build(admin_url: str) -> str:
    """Release what the configured image names now, if the Machines run an older build of it.

    Returns a line that says so; empty when the newest build runs already. Raises ``ConfigError`` when the release does
    not become healthy.
    """
    release = _call("GET", f"{admin_url}/fly/release")
    newer = release.get("newer_build")
    if not newer:
        return ""
    _call("POST", f"{admin_url}/fly/releases", {"env": release["env"]})
    return f"released {newer['ref']} (commit {newer['commit'] or 'unknown'}): the Machines ran {release['image_ref']}"


def _call(method: str, url: str, body: object = None) -> dict[str, Any]:
    try:
        answer = httpx.request(method, url, json=body, timeout=RELEASE_TIMEOUT_S, trust_env=False)
    except httpx.HTTPError as error:
        raise ConfigError(url, f"the Fly stand-in does not answer: {error}", fix="make up") from None
    if answer.is_error:
        raise ConfigError(url, f"{answer.status_code}: {answer.text[:500]}", fix="make logs")
    found: dict[str, Any] = answer.json()
    return found


def _config_digest(digest: str) -> str:
    """The image's identity everywhere; an engine on containerd's store starts images by another digest."""
    try:
        return Engine().config_digest(digest)
    except EngineError:
        return digest
