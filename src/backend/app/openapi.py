"""Completes the OpenAPI document: the problem schema, required headers, problem bodies for validation errors."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app import problems
from app.problems import FieldError, ProblemBody

REQUIRED_HEADERS = frozenset({"X-User-ID", "X-Profile-ID"})


def install(app: FastAPI) -> None:
    """Makes `app.openapi()` answer the completed document, computed once."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = complete(
                get_openapi(
                    title=app.title,
                    version=app.version,
                    description=app.description,
                    routes=app.routes,
                    tags=app.openapi_tags,
                )
            )
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The document with what FastAPI cannot know; changes it in place."""
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    for model in (ProblemBody, FieldError):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schema.pop("$defs", None)
        schemas[model.__name__] = schema
    for methods in document.get("paths", {}).values():
        for operation in methods.values():
            _complete_operation(operation)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return document


def _complete_operation(operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "header" and parameter["name"] in REQUIRED_HEADERS:
            # Declared optional in code so that a missing one is answered by a 400 of our own.
            parameter["required"] = True
            parameter["schema"] = {"type": "string", "pattern": parameter["schema"].get("pattern", ".+")}
    listed = operation.setdefault("responses", {})
    if "application/json" in listed.get("422", {}).get("content", {}):
        listed["422"] = problems.responses(problems.INVALID)[422]
