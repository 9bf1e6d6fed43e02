"""A backend on a store in memory, reached as a browser would, without a socket."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from tests.backend.fakes import FakeStore

from app.main import create_app
from app.settings import Settings, from_environment

ORIGIN = "https://app.example"
PATIENT = {"R2_CONNECT_SECONDS": "60", "R2_READ_SECONDS": "120", "R2_TOTAL_SECONDS": "300", "MAX_BODY_SECONDS": "300"}
"""Deadlines that a store which answers meets on any machine, however busy it is. A test of a deadline sets its own."""


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings of a staging backend on R2, with a cache folder of its own for each call."""
    made = 0

    def make(**changes: str) -> Settings:
        nonlocal made
        made += 1
        environ = {
            "ENV": "staging",
            "APP_ENV": "staging",
            "CORS_ORIGINS": ORIGIN,
            "USER_DATA_DIR": str(tmp_path / f"user_data_{made}"),
            "R2_ENABLED": "true",
            "R2_ENDPOINT": "https://r2.invalid",
            "R2_ACCESS_KEY_ID": "key",
            "R2_SECRET_ACCESS_KEY": "secret",
            "R2_BUCKET": "bucket",
            "SYNC_READ_CHECK": "always",
            "GIT_COMMIT": "abc123",
            **PATIENT,
        }
        return from_environment({**environ, **changes})

    return make


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
async def app(settings: Settings, store: FakeStore) -> AsyncIterator[FastAPI]:
    """The application, started and stopped with its lifespan."""
    made = create_app(settings, store)
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client on the frontend's origin; what no handler expected is answered, not raised."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.test", headers={"Origin": ORIGIN}) as made:
        yield made


@pytest.fixture
async def headers(client: httpx.AsyncClient) -> dict[str, str]:
    """The headers of user `alice` with a profile `main` that exists."""
    answer = await client.post("/api/profiles", json={"name": "Main", "id": "main"}, headers={"X-User-ID": "alice"})
    assert answer.status_code == 201, answer.text
    return {"X-User-ID": "alice", "X-Profile-ID": "main"}
