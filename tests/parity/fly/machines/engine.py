"""What tests ask of the Docker engine about Machines."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

SOURCES = [Path(__file__).parent.parent / "image" / name for name in ("Dockerfile", "server.py")]
CONTENT = hashlib.sha256(b"".join(path.read_bytes() for path in SOURCES)).hexdigest()
# Named by its content: another checkout on this engine that builds other sources does not take the name away.
IMAGE = f"parity-fly-test-{CONTENT[:12]}"
CA_PATH = "/etc/parity/trust/ca.pem"


async def containers(docker: Any, project: str) -> list[Any]:
    filters = json.dumps({"label": [f"com.docker.compose.project={project}"]})
    return [await c.show() for c in await docker.containers.list(all=1, filters=filters)]


async def build(docker: Any, tag: str, labels: dict[str, str] | None = None) -> str:
    """Build the tests' image as ``tag`` and return its digest. Other labels make another image."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in SOURCES:
            archive.add(path, path.name)
    buffer.seek(0)
    await docker.images.build(fileobj=buffer, encoding="identity", tag=tag, labels=labels or {})
    return str((await docker.images.inspect(tag))["Id"])
