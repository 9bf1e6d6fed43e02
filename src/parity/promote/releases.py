"""What ``fly releases --json`` says, and which release there is to go back to."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from parity.promote.machines import Machine, UnreadableAnswer


@dataclass(frozen=True)
class FlyRelease:
    """One release; ``image`` is as it was deployed, by digest or by tag."""

    version: int
    status: str
    image: str


@dataclass(frozen=True)
class WayBack:
    """The image to go back to, by digest, and why it is that one."""

    image: str
    why: str

    @property
    def digest(self) -> str:
        return self.image.rpartition("@")[2]


def parse_releases(text: str) -> list[FlyRelease]:
    """Newest first; flyctl prints at most 25, with Go's field names. Raises ``UnreadableAnswer``."""
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
    """The last good image. None before the first deploy, and when everything that ran is known to be bad.

    ``good`` and ``bad`` are digests that this checkout promoted, newest first, and that it rolled back; ``resolve``
    gives the digest of an image by tag. What runs now counts when every Machine runs it, its release did not fail, and
    it is not known to be bad; else the newest completed release does. Raises ``UnreadableAnswer`` when Machines run
    images of which nothing says which one was good: going back to a guess is worse than not going on.
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
    raise UnreadableAnswer(f"the Machines run different images and no release completed: {found}; settle that by hand")


def digest_of(release: FlyRelease, resolve: Callable[[str], str]) -> str:
    """The digest of a release's image; ``resolve`` gives that of an image by tag."""
    return release.image.rpartition("@")[2] if "@" in release.image else resolve(release.image)
