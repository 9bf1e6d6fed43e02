"""Schemathesis plays requests that the OpenAPI document allows and forbids: no 5xx, nothing that it does not say.

`EXAMPLES=200 pytest tests/backend/core/test_openapi_fuzz.py` plays more. Jobs of the server never end by themselves.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from tests.backend.api.machines import HEADERS, EndlessWorker
from tests.backend.api.machines import settings as environment
from tests.backend.fakes import FakeStore

from app.jobs import lifespan as job_lifespan
from app.main import create_app

EXAMPLES = int(os.environ.get("EXAMPLES", "6"))
BY_STATE = (409, 410)
"""Answers to a request that the document allows and the state does not; so is 404, which Schemathesis knows. No pattern
can say which characters the font has."""


@schemathesis.check
def accepts_what_the_document_allows(context: Any, response: Any, case: schemathesis.Case[Any]) -> bool | None:
    refused = response.status_code == 422 and any(
        word in response.text for word in ("no such clips", "cannot be drawn")
    )
    if response.status_code in BY_STATE or refused:
        return None
    return positive_data_acceptance(context, response, case)


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    positive_data_acceptance,
    response_schema_conformance,
    unsupported_method,
    accepts_what_the_document_allows,
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server in a thread of its own, with the profile that the requests are for."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_lifespan, "make_worker", lambda _core: EndlessWorker())
        app = create_app(environment(tmp_path_factory.mktemp("fuzz")), FakeStore())
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="websockets-sansio"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            httpx.post(
                f"{url}/api/profiles", json={"name": "Main", "id": "main"}, headers=HEADERS, timeout=60
            ).raise_for_status()
            yield url
        finally:
            server.should_exit = True
            thread.join(60)


schema = schemathesis.openapi.from_dict(create_app(environment(Path("unused")), FakeStore()).openapi())


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)
def test_every_answer_is_one_that_the_document_names(case: schemathesis.Case[Any], address: str) -> None:
    case.call_and_validate(
        base_url=address, headers=HEADERS, checks=CHECKS, excluded_checks=[positive_data_acceptance], timeout=120
    )
