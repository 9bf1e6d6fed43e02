"""Completes the OpenAPI document: the problem schema, required headers, problem bodies for validation errors, the
access token, headers of answers, and the limit that a setting decides."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app import problems
from app.problems import POSITION_HEADER, SYNC_STATUS_HEADER, FieldError, ProblemBody
from app.settings import Settings

SCHEME = "accessToken"
SCHEME_HELP = (
    "The ACCESS_TOKEN of this app, if it has one. It does not say which user sends it; X-User-ID does, unverified."
)
SYNC_HEADERS = {
    SYNC_STATUS_HEADER: "Whether object storage has all that the answer shows: `synced`.",
    POSITION_HEADER: "Send it with the next request, so that its answer shows nothing older.",
}
REQUIRED_HEADERS = frozenset({"X-User-ID", "X-Profile-ID"})


def install(app: FastAPI, settings: Settings) -> None:
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
                ),
                settings,
            )
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def complete(document: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The document with what FastAPI cannot know; changes it in place."""
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    for model in (ProblemBody, FieldError):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schema.pop("$defs", None)
        schemas[model.__name__] = schema
    schemas["NewUpload"]["properties"]["size"]["maximum"] = settings.max_upload_bytes
    document["components"]["securitySchemes"] = {
        SCHEME: {"type": "http", "scheme": "bearer", "description": SCHEME_HELP}
    }
    for methods in document.get("paths", {}).values():
        for operation in methods.values():
            _complete_operation(operation, bool(settings.access_token))
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return document


def _complete_operation(operation: dict[str, Any], closed: bool) -> None:
    names = {parameter["name"] for parameter in operation.get("parameters", ())}
    if names & REQUIRED_HEADERS:
        operation["security"] = [{SCHEME: []}] if closed else [{SCHEME: []}, {}]
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "header" and parameter["name"] in REQUIRED_HEADERS:
            # Declared optional in code so that a missing one is answered by a 400 of our own.
            parameter["required"] = True
            parameter["schema"] = {"type": "string", "pattern": parameter["schema"].get("pattern", ".+")}
    listed = operation.setdefault("responses", {})
    if "application/json" in listed.get("422", {}).get("content", {}):
        listed["422"] = problems.responses(problems.INVALID)[422]
    if "X-Profile-ID" in names:
        for status in listed:
            if status < "300":
                listed[status]["headers"] = {
                    name: {"description": text, "schema": {"type": "string"}} for name, text in SYNC_HEADERS.items()
                }
