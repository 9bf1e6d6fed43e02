"""The Machines as the Docker engine sees them: what they really run, with what environment."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from parity.checks.model import Unobservable
from parity.report.engine import Engine, EngineError


def _inspected(engine: Engine, project: str) -> list[dict[str, Any]]:
    labels = ["com.docker.compose.service=api", f"com.docker.compose.project={project}"]
    found = engine.get(f"/containers/json?filters={quote(json.dumps({'label': labels}))}")
    return [engine.get(f"/containers/{entry['Id']}/json") for entry in found]


def environments(project: str) -> dict[str, dict[str, str]]:
    """Variables of each Machine that runs in ``project``, less those of its image. Raises ``Unobservable``."""
    engine, result = Engine(), {}
    try:
        for container in _inspected(engine, project):
            of_image = set(engine.image(container["Image"])["Config"].get("Env") or [])
            given = [entry for entry in container["Config"]["Env"] if entry not in of_image]
            result[container["Name"].lstrip("/")] = dict(entry.split("=", 1) for entry in given)
    except EngineError as error:
        raise Unobservable(str(error)) from None
    return result
