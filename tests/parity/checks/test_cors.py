from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware

from parity.checks import cors
from parity.checks.broken import errors_without_cors
from parity.checks.cors import CorsAnswer

FRONTEND = "https://app.example"


@pytest.fixture
def app(request: pytest.FixtureRequest) -> Starlette:
    from tests.parity.checks.conftest import application

    return application()


async def reasons(check: Any, tools_for: Callable[[Any], Any], app: Any) -> list[str]:
    async with tools_for(app) as tools:
        judged: list[str] = check.judge(await check.observe(tools))
        return judged


async def test_preflights_of_a_right_application_pass(tools_for: Callable[[Any], Any], app: Starlette) -> None:
    assert await reasons(cors.PREFLIGHT, tools_for, app) == []


async def test_origins_without_the_staging_frontend_are_caught(tools_for: Callable[[Any], Any]) -> None:
    from tests.parity.checks.conftest import application

    found = await reasons(
        cors.PREFLIGHT, tools_for, application(("https://elsewhere.example", "http://localhost:5173"))
    )
    assert any(FRONTEND in reason and "absent" in reason for reason in found)


async def test_access_granted_to_everyone_is_caught(tools_for: Callable[[Any], Any], app: Starlette) -> None:
    def open_to_all(inner: Starlette) -> CORSMiddleware:
        return CORSMiddleware(
            inner, allow_origin_regex=".*", allow_methods=["*"], allow_headers=["*"], allow_credentials=True
        )

    found = await reasons(cors.PREFLIGHT, tools_for, open_to_all(app))
    assert any("stranger" in reason for reason in found)


async def test_an_origin_compared_by_its_beginning_is_caught(tools_for: Callable[[Any], Any], app: Starlette) -> None:
    sloppy = CORSMiddleware(
        app, allow_origin_regex=r"(https://app\.example|http://localhost:5173).*", allow_credentials=True,
        allow_methods=["*"], allow_headers=["*"],
    )  # fmt: skip
    found = await reasons(cors.PREFLIGHT, tools_for, sloppy)
    assert any(f"{FRONTEND}.stranger.example" in reason for reason in found)


async def test_readable_errors_pass(tools_for: Callable[[Any], Any], app: Starlette) -> None:
    assert await reasons(cors.ERRORS, tools_for, app) == []


async def test_errors_without_cors_headers_are_caught(tools_for: Callable[[Any], Any], app: Starlette) -> None:
    found = await reasons(cors.ERRORS, tools_for, errors_without_cors.wrap(app))
    assert any("Access-Control-Allow-Origin is absent" in reason for reason in found)


def test_an_answer_that_a_cache_would_hand_to_another_origin_is_caught() -> None:
    headers = {"access-control-allow-origin": FRONTEND, "access-control-allow-credentials": "true"}
    found = cors.judge_grant(CorsAnswer("unknown path", FRONTEND, True, 404, headers))
    assert found == [f"unknown path from {FRONTEND} (404): no Vary: Origin, a cache would serve it to another origin"]
