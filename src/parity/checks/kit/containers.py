"""The Machines as the Docker engine sees them: what they really run, with what environment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from parity.checks.model import Unobservable
from parity.report.engine import Engine, EngineError


def _inspected(engine: Engine, environ: Mapping[str, str]) -> list[dict[str, Any]]:
    labels = ["com.docker.compose.service=api"]
    if environ.get("COMPOSE_PROJECT_NAME"):
        labels.append(f"com.docker.compose.project={environ['COMPOSE_PROJECT_NAME']}")
    found = engine.get(f"/containers/json?filters={quote(json.dumps({'label': labels}))}")
    return [engine.get(f"/containers/{entry['Id']}/json") for entry in found]


def environments(environ: Mapping[str, str] = os.environ) -> dict[str, dict[str, str]]:
    """Variables of each running Machine, less those that its image sets. Raises ``Unobservable``."""
    engine, result = Engine(), {}
    try:
        for container in _inspected(engine, environ):
            of_image = set(engine.image(container["Image"])["Config"].get("Env") or [])
            given = [entry for entry in container["Config"]["Env"] if entry not in of_image]
            result[container["Name"].lstrip("/")] = dict(entry.split("=", 1) for entry in given)
    except EngineError as error:
        raise Unobservable(str(error)) from None
    return result


def running_image(environ: Mapping[str, str] = os.environ) -> str:
    """Config digest of the one image that the Machines run; empty when there is none or more than one."""
    engine = Engine()
    try:
        digests = {engine.config_digest(container["Image"]) for container in _inspected(engine, environ)}
    except EngineError:
        return ""
    return digests.pop() if len(digests) == 1 else ""
