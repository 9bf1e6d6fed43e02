"""What a function raises ends its job at once, also where a failed request would have the same class: the real SDK."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import modal
import modal.exception
import pytest
from tests.parity.modal.support import Stack

from app.services.modal_client import ModalClient
from app.services.worker import WorkFailed
from app.settings import Settings


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[modal.Client]:
    running = Stack(tmp_path_factory.mktemp("raising"), Path(__file__).parent / "raising.py", [])
    try:
        running.start("serve")
        running.start("worker")
        running.wait_until_ready()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MODAL_SERVER_URL", running.url)
            opened = modal.Client.from_credentials("ak-standin", "as-standin")
        with opened:
            yield opened
    finally:
        running.close()


@pytest.fixture
def backend(client: modal.Client, monkeypatch: pytest.MonkeyPatch) -> ModalClient:
    """With its own connection: the SDK keeps one for the whole process, and other tests use another control plane."""
    sdk = SimpleNamespace(
        exception=modal.exception,
        Function=SimpleNamespace(from_name=partial(modal.Function.from_name, client=client)),
        FunctionCall=SimpleNamespace(from_id=partial(modal.FunctionCall.from_id, client=client)),
    )
    monkeypatch.setattr(ModalClient, "_modal", lambda _: sdk)
    return ModalClient(Settings())


# Each has the class of a failed request, but for SystemExit, which would end the backend's process.
@pytest.mark.parametrize(
    "raised",
    [
        "ConnectionError",
        "TimeoutError",
        "GRPCError",
        "AuthError",
        "NotFoundError",
        "OutputExpiredError",
        "ServiceError",
        "SystemExit",
    ],
)
async def test_what_the_function_raised_is_no_failed_request(backend: ModalClient, raised: str) -> None:
    outages: list[str] = []

    async def outage() -> None:
        outages.append(raised)

    async def wait() -> None: ...

    call = await backend.spawn("render_reel", {"raise": raised})
    with pytest.raises(WorkFailed, match=f"render_reel failed on Modal: {raised}: .*of the function"):
        await backend.result("render_reel", call, deadline_s=600, on_wait=wait, on_outage=outage)
    assert outages == []
