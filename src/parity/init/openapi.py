"""The routes of an app by its OpenAPI document: from a URL, or from the app itself where it can be imported."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

SECONDS = 30.0
# For an import of the app. On a busy machine one that takes two seconds took more than thirty.
IMPORT_S = 180.0
_METHODS = ("get", "post", "put", "patch", "delete")
_ASK = """
import importlib, json, sys
found = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])
while not hasattr(found, "openapi") and hasattr(found, "app"):
    found = found.app
sys.stdout.write("\\n" + json.dumps(found.openapi()))
"""


class NoDocument(Exception):
    """The app has no OpenAPI document, or cannot be asked for it; the message says why."""


@dataclass(frozen=True)
class Route:
    """One operation. ``fields`` are the names of the texts that its JSON body must have."""

    method: str
    path: str
    fields: tuple[str, ...] = ()
    status: int = 200

    @property
    def plain(self) -> bool:
        """Whether the path has no parameter."""
        return "{" not in self.path


def from_url(url: str) -> list[Route]:
    """Ask a running app. Raises ``httpx.HTTPError`` or ``ValueError`` where it has no such document."""
    address = url if url.endswith(".json") else f"{url.rstrip('/')}/openapi.json"
    answer = httpx.get(address, timeout=SECONDS, follow_redirects=True).raise_for_status()
    return routes(answer.json())


def from_source(python: Path, folder: Path, command: Sequence[str], env: Mapping[str, str]) -> list[Route]:
    """Import the application that the start command names and ask it. Raises ``NoDocument``."""
    named = next((word for word in command if re.fullmatch(r"[\w.]+:\w+", word)), "")
    if not named:
        raise NoDocument("the start command names no application such as app.main:app")
    module, _, name = named.partition(":")
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    try:
        done = subprocess.run(
            [str(python), "-c", _ASK, module, name],
            cwd=folder,
            env={**kept, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **env},
            capture_output=True,
            text=True,
            timeout=IMPORT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoDocument(f"{named} was not imported within {IMPORT_S:g} s") from None
    except OSError as error:
        raise NoDocument(f"{python} cannot be run: {error.strerror}") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        if last.startswith("AttributeError") and "openapi" in last:
            raise NoDocument(f"{named} is no FastAPI application")
        raise NoDocument(f"{named} cannot be imported by {python}: {last}")
    try:
        return routes(json.loads(done.stdout.rpartition("\n")[2]))
    except ValueError as error:
        raise NoDocument(f"what {named} calls its OpenAPI document is none: {error}") from None


def routes(document: Mapping[str, Any]) -> list[Route]:
    """All operations of a document, in its order."""
    found = []
    for path, operations in document.get("paths", {}).items():
        for method in _METHODS:
            if method in operations:
                operation = operations[method]
                good = [int(code) for code in operation.get("responses", {}) if re.fullmatch(r"2\d\d", str(code))]
                found.append(Route(method.upper(), path, _texts(document, operation), min(good, default=200)))
    return found


def _texts(document: Mapping[str, Any], operation: Mapping[str, Any]) -> tuple[str, ...]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = _resolved(document, content.get("schema", {}))
    wanted = schema.get("required", [])
    properties = schema.get("properties", {})
    return tuple(name for name in wanted if _resolved(document, properties.get(name, {})).get("type") == "string")


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref", "")
    if not reference.startswith("#/"):
        return schema
    found: Any = document
    for part in reference[2:].split("/"):
        found = found.get(part, {})
    return found if isinstance(found, Mapping) else {}


def first(found: Sequence[Route], method: str, pattern: str = "", *, plain: bool = True) -> Route | None:
    """The first route of a method whose path fits the pattern."""
    fitting = (r for r in found if r.method == method and (r.plain or not plain) and re.search(pattern, r.path, re.I))
    return next(fitting, None)
