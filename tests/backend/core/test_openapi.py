"""app.openapi: the document says what the operations do."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from app.settings import Settings


@pytest.fixture
def operations(app: FastAPI) -> list[tuple[str, dict[str, Any]]]:
    paths = app.openapi()["paths"]
    return [(f"{method} {path}", operation) for path in paths for method, operation in paths[path].items()]


def test_every_operation_has_a_tag_a_summary_and_problem_bodies(operations: list[tuple[str, dict[str, Any]]]) -> None:
    for name, operation in operations:
        assert operation["tags"], name
        assert operation["summary"], name
        errors = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        assert "500" in errors, name
        for status, answer in errors.items():
            assert list(answer["content"]) == ["application/problem+json"], f"{name} {status}"


def test_the_headers_of_user_and_profile_are_required_parameters(operations: list[tuple[str, dict[str, Any]]]) -> None:
    named = dict(operations)
    parameters = {item["name"]: item for item in named["get /api/settings"]["parameters"]}
    assert parameters["X-User-ID"]["required"] is True
    assert parameters["X-Profile-ID"]["required"] is True
    assert parameters["X-Profile-ID"]["schema"]["pattern"].startswith("^[A-Za-z0-9]")
    assert "parameters" not in named["get /api/health"]


async def test_the_document_refers_only_to_schemas_that_it_has(client: AsyncClient) -> None:
    document = (await client.get("/openapi.json")).text
    known = (await client.get("/openapi.json")).json()["components"]["schemas"]
    used = {part.split('"')[0] for part in document.split("#/components/schemas/")[1:]}
    assert used <= set(known)


def test_the_document_has_the_headers_of_answers_and_the_limit_of_a_video(
    app: FastAPI, operations: list[tuple[str, dict[str, Any]]], settings: Settings
) -> None:
    named = dict(operations)
    assert set(named["get /api/settings"]["responses"]["200"]["headers"]) == {"X-Sync-Status", "X-Sync-Position"}
    assert set(named["get /api/settings"]["responses"]["503"]["headers"]) == {"X-Sync-Status", "Retry-After"}
    assert list(named["get /api/settings"]["responses"]["401"]["headers"]) == ["WWW-Authenticate"]
    assert list(named["post /api/profiles"]["responses"]["201"]["headers"]) == ["Location"]
    size = app.openapi()["components"]["schemas"]["NewUpload"]["properties"]["size"]
    assert size["maximum"] == settings.max_upload_bytes


def test_a_name_of_spaces_is_excluded_by_the_document(app: FastAPI) -> None:
    schemas = app.openapi()["components"]["schemas"]
    for model in ("NewProfile", "ProfileChange", "NewUpload", "NewClip", "NewProject", "ExportChange"):
        assert schemas[model]["properties"]["name"]["pattern"] == r"\S", model
