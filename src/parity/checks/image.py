"""What the Fly image has in it, and what it must not have."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

from parity.checks.kit.tools import Tools
from parity.checks.model import Broken, Check, Layer, Need, Unobservable
from parity.report.engine import Engine, EngineError

# The operating system and installed packages are not the product's; everything else is listed.
LIST_FILES = (
    "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /usr -o -path /etc -o -path /var/lib"
    " -o -path '/opt/venv/lib/python*/site-packages' \\) -prune -o -type f -print"
)
# What nothing of a checkout but the product may leave in an image.
FORBIDDEN = re.compile(
    r"(^|/)(\.env($|\.)|\.git($|/)|\.parity/|tests?/|conftest\.py$|fly\.staging\.toml$|standin\.secrets\.env$|parity/"
    r"|compose\.yaml$|Dockerfile$|\.venv/|\.modal\.toml$|user_data/.)|\.(pem|key|sqlite|sqlite3|db)$"
)
MEGABYTE = 1_000_000
ADDED_LIMIT_MB = 150


@dataclass(frozen=True)
class ImageObservation:
    """``paths``: files outside of the operating system and installed packages; sizes in bytes.

    ``base_size`` is None where the base image is not known to the engine.
    """

    paths: list[str]
    user: str
    platform: str
    size: int
    base_size: int | None
    env: list[str]
    labels: Mapping[str, str]
    secrets: Mapping[str, str]


async def observe(tools: Tools) -> ImageObservation:
    release = await tools.admin.call("GET", "/fly/release")
    name = release.get("image") or tools.project.image
    return await asyncio.to_thread(_read, name, tools.project.secrets)


def _read(name: str, secrets: Mapping[str, str]) -> ImageObservation:
    engine = Engine()
    try:
        image = engine.image(name)
        listing = engine.run_and_read(name, ["sh", "-c", LIST_FILES])
        base = _base_size(engine, image["RootFS"]["Layers"])
    except EngineError as error:
        raise Unobservable(str(error)) from None
    config = image["Config"]
    return ImageObservation(
        paths=[line.strip() for line in listing.splitlines() if line.startswith("/")],
        user=config.get("User") or "",
        platform=f"{image['Os']}/{image['Architecture']}",
        size=int(image["Size"]),
        base_size=base,
        env=config.get("Env") or [],
        labels=config.get("Labels") or {},
        # Short values such as "true" are no secrets.
        secrets={key: value for key, value in secrets.items() if re.search("KEY|TOKEN|SECRET|PASSWORD", key)},
    )


def _base_size(engine: Engine, layers: list[str]) -> int | None:
    """Size of the smallest tagged image that ours begins with."""
    sizes = []
    for entry in engine.get("/images/json"):
        if not entry.get("RepoTags"):
            continue
        found = engine.image(entry["Id"])
        theirs = found["RootFS"].get("Layers") or []
        if theirs and len(theirs) < len(layers) and layers[: len(theirs)] == theirs:
            sizes.append(int(found["Size"]))
    return min(sizes, default=None)


def judge(seen: ImageObservation) -> list[str]:
    reasons = [f"{path} is in the image" for path in seen.paths if FORBIDDEN.search(path)]
    if seen.user.partition(":")[0] in ("", "0", "root"):
        reasons.append(f"it runs as {seen.user or 'root'}")
    if seen.platform != "linux/amd64":
        reasons.append(f"it is for {seen.platform}; Fly runs linux/amd64 only")
    if seen.base_size is not None:
        added = (seen.size - seen.base_size) / MEGABYTE
        if added > ADDED_LIMIT_MB:
            reasons.append(f"it adds {added:.0f} MB to its base, more than {ADDED_LIMIT_MB}")
    for entry in seen.env:
        name, _, value = entry.partition("=")
        if name in seen.secrets or value in seen.secrets.values():
            reasons.append(f"its environment sets {name}: a secret is baked in")
    if not seen.labels.get("org.opencontainers.image.revision"):
        reasons.append("no label says which commit it was built from (org.opencontainers.image.revision)")
    return reasons


CONTENTS: Check[ImageObservation] = Check(
    id="image-contents",
    title="The image holds the product and nothing of the checkout around it, and does not run as root",
    capability="A",
    observe=observe,
    judge=judge,
    broken=Broken(
        "a layer with a developer's .env, a private key and a test",
        Layer({"/app/.env": "R2_ENABLED=true\n", "/app/ca.key": "no key\n", "/app/tests/test_x.py": "\n"}),
    ),
    needs=frozenset({Need.ADMIN, Need.IMAGE, Need.ENGINE}),
    deadline_s=120.0,
)
