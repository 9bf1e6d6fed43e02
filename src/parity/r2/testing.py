"""Faults for tests: a pytest fixture that fails the test when a fault it asked for never fired.

``pytest_plugins = ["parity.r2.testing"]`` brings the fixture ``r2_faults``; it needs a fixture ``r2_admin_url`` of the
test suite (the base URL of the admin API, without ``/r2``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest


class Faults:
    """The faults that one test has set."""

    def __init__(self, admin_url: str) -> None:
        self._client = httpx.Client(base_url=admin_url, trust_env=False, timeout=30)
        self._ids: list[str] = []

    def add(self, **fault: Any) -> str:
        """Set a fault with the fields of ``parity.r2.faults.Fault``; returns its id. Raises ``ValueError``."""
        answer = self._client.post("/r2/faults", json=fault)
        if answer.status_code != 201:
            raise ValueError(answer.json().get("detail", answer.text))
        self._ids.append(answer.json()["id"])
        return self._ids[-1]

    def fired(self, id_: str) -> int:
        """How often it fired so far."""
        faults = self._client.get("/r2/faults").json()["faults"]
        return next(int(fault["fired"]) for fault in faults if fault["id"] == id_)

    def finish(self) -> list[str]:
        """Remove this test's faults; the ids of those that never fired."""
        never = []
        for id_ in self._ids:
            answer = self._client.delete("/r2/faults", params={"id": id_})
            # 404: a reset of the stand-in removed the fault, so it is not known whether it fired.
            if answer.status_code == 404 or not answer.json()["faults"][0]["fired"]:
                never.append(id_)
        self._client.close()
        return never


@pytest.fixture
def r2_faults(r2_admin_url: str) -> Iterator[Faults]:
    """Faults of this test only."""
    faults = Faults(r2_admin_url)
    yield faults
    never = faults.finish()
    if never:
        pytest.fail(f"faults that never fired: {', '.join(never)}; the test proves nothing about them")
