"""Reads ``fly releases --json`` and chooses the image to roll back to."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from parity.promote.machines import Machine, UnreadableAnswer


@dataclass(frozen=True)
class FlyRelease:
    """One release. ``image`` is the reference that was deployed, with a digest or a tag."""

    version: int
    status: str
    image: str


@dataclass(frozen=True)
class WayBack:
    """The image to roll back to, with its digest, and why it was chosen."""

    image: str
    why: str

    @property
    def digest(self) -> str:
        return self.image.rpartition("@")[2]


def parse_releases(text: str) -> list[FlyRelease]:
    """The releases, newest first. flyctl prints at most 25. Raises ``UnreadableAnswer``."""
    try:
        found = [FlyRelease(int(e["Version"]), str(e["Status"]), str(e["ImageRef"])) for e in json.loads(text) or []]
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableAnswer(f"fly releases --json: {error!r} in {text[:200]!r}") from None
    return sorted(found, key=lambda release: -release.version)


def way_back(
    machines: Sequence[Machine],
    releases: Sequence[FlyRelease],
    good: Sequence[str],
    bad: Collection[str],
    resolve: Callable[[str], str],
) -> WayBack | None:
    """The last good image. None before the first deploy, and if every image that ran is known to be bad.

    ``good`` are digests that this checkout promoted, newest first; ``bad`` are digests that it rolled back. ``resolve``
    returns the digest of a tag. The first of these is chosen:

    1. the image that every Machine runs now, unless its release failed or it is bad;
    2. the image of the newest completed release that is not bad;
    3. the image that this checkout promoted last.

    Raises ``UnreadableAnswer`` if the Machines run different images and none of them is known to be good. The promotion
    then stops, because a rollback to a guessed image is worse.
    """
    if not machines:
        return None
    by_digest: dict[str, list[FlyRelease]] = {}
    for release in releases:
        by_digest.setdefault(digest_of(release, resolve), []).append(release)
    running = {machine.image for machine in machines}
    if len(running) == 1:
        image = running.copy().pop()
        digest = image.rpartition("@")[2]
        failed = any(release.status == "failed" for release in by_digest.get(digest, [])[:1])
        if digest and digest not in bad and not failed:
            return WayBack(image, "it runs now")
    repository = machines[0].image.rpartition("@")[0]
    for release in releases:
        digest = digest_of(release, resolve)
        if release.status == "complete" and digest and digest not in bad:
            return WayBack(f"{repository}@{digest}", f"release {release.version} is the newest that completed")
    for digest in good:
        if digest not in bad:
            return WayBack(f"{repository}@{digest}", "this checkout promoted it last")
    healthy = {machine.image for machine in machines if machine.healthy} - {f"{repository}@{digest}" for digest in bad}
    if len(healthy) == 1 and not releases:
        return WayBack(healthy.pop(), "its Machines are healthy")
    if len(running) == 1:
        return None
    found = ", ".join(f"{machine.id} ({machine.state}) {machine.image}" for machine in machines)
    raise UnreadableAnswer(
        f"the Machines run different images and no release completed: {found}; deploy one image by hand first"
    )


def digest_of(release: FlyRelease, resolve: Callable[[str], str]) -> str:
    """The digest of a release's image; ``resolve`` gives that of an image by tag."""
    return release.image.rpartition("@")[2] if "@" in release.image else resolve(release.image)
