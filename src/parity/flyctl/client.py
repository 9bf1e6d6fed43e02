"""HTTP calls to Fly's APIs as flyctl makes them: GraphQL, the Machines API (flaps) and the web API (uiex)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlencode

import httpx

# Seconds: how long flyctl tries to get a lease that another client holds, the pause between two tries, and the interval
# at which it renews a lease.
LEASE_DEADLINE_S = float(os.environ.get("FLY_DOUBLE_LEASE_DEADLINE_S", "60"))
LEASE_PAUSE_S = 1.0
LEASE_EVERY_S = 4.0
CALL_TIMEOUT_S = 120.0


class FlyError(Exception):
    """An error that flyctl prints after ``Error:`` before it exits with 1."""


class Client:
    """A client for one app. Raises ``FlyError``."""

    def __init__(self, app: str = "") -> None:
        token = os.environ.get("FLY_API_TOKEN", "")
        if not token:
            raise FlyError("No access token available. Please login with 'flyctl auth login'")
        self.app = app
        headers = {"Authorization": f"Bearer {token}", "User-Agent": "flyctl-double"}
        self._http = httpx.Client(headers=headers, timeout=CALL_TIMEOUT_S, trust_env=False)
        self._bases = {
            "graphql": os.environ.get("FLY_API_BASE_URL", ""),
            "flaps": os.environ.get("FLY_FLAPS_BASE_URL", ""),
            "uiex": os.environ.get("FLY_UIEX_BASE_URL", ""),
        }
        for name, base in self._bases.items():
            if not base:
                raise FlyError(f"the address of {name} is not set: this double works only with a stand-in")

    def call(self, service: str, method: str, path: str, body: Any = None, nonce: str = "") -> Any:
        """Make a call and return the JSON of the answer. Raises ``FlyError`` with the service's error message."""
        headers = {"fly-machine-lease-nonce": nonce} if nonce else {}
        try:
            answer = self._http.request(method, self._bases[service] + path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise FlyError(f'{method} "{self._bases[service]}{path}": {error}') from None
        if answer.status_code >= 400:
            raise Answered(answer.status_code, _said(answer))
        return answer.json() if answer.content else None

    def query(self, text: str, **variables: Any) -> dict[str, Any]:
        """The data of a GraphQL query."""
        found = self.call("graphql", "POST", "/graphql", {"query": text, "variables": variables})
        if found.get("errors"):
            raise FlyError(str(found["errors"][0]["message"]))
        data: dict[str, Any] = found["data"]
        return data

    def machines(self) -> list[dict[str, Any]]:
        """The Machines that a deploy updates: all but those that run one command."""
        found: list[dict[str, Any]] = self.flaps("GET", "/machines")
        return [one for one in found if not group_of(one).startswith("fly_app_")]

    def flaps(self, method: str, path: str, body: Any = None, nonce: str = "") -> Any:
        """Call the Machines API for the app."""
        return self.call("flaps", method, f"/v1/apps/{self.app}{path}", body, nonce)

    def machine(self, machine_id: str, method: str = "GET", path: str = "", body: Any = None, nonce: str = "") -> Any:
        """Call the Machines API for one Machine."""
        return self.flaps(method, f"/machines/{machine_id}{path}", body, nonce)

    @contextmanager
    def lease(self, machine_id: str, ttl_s: int) -> Iterator[str]:
        """Lease a Machine, renew the lease during the block, and release it at the end. Yields the lease's nonce."""
        deadline = time.monotonic() + LEASE_DEADLINE_S
        while True:
            try:
                nonce = str(self.machine(machine_id, "POST", f"/lease?ttl={ttl_s}")["data"]["nonce"])
                break
            except Answered as error:
                if error.status != 409 or time.monotonic() > deadline:
                    raise FlyError(f"failed to get lease on VM {machine_id}: {error}") from None
                time.sleep(LEASE_PAUSE_S)
        done = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(machine_id, ttl_s, nonce, done), daemon=True)
        keeper.start()
        try:
            yield nonce
        finally:
            done.set()
            keeper.join()
            self.machine(machine_id, "DELETE", "/lease", nonce=nonce)

    def _keep(self, machine_id: str, ttl_s: int, nonce: str, done: threading.Event) -> None:
        """Renew a lease until ``done``, as flyctl does in the background."""
        while not done.wait(LEASE_EVERY_S):
            with suppress(FlyError):
                self.machine(machine_id, "POST", f"/lease?ttl={ttl_s}", nonce=nonce)

    def wait(self, machine_id: str, state: str, timeout_s: float) -> None:
        """Wait until a Machine has a state. Like flyctl, use calls that wait for at most 60 s each."""
        deadline = time.monotonic() + timeout_s
        while True:
            left = deadline - time.monotonic()
            query = urlencode({"state": state, "timeout": max(1, min(60, int(left)))})
            try:
                self.machine(machine_id, path=f"/wait?{query}")
            except Answered as error:
                if error.status == 404 and state == "destroyed":
                    return
                if error.status != 408:
                    raise
                if time.monotonic() > deadline:
                    raise FlyError(f"timeout reached waiting for machine's state to change: {error}") from None
            else:
                return


class Answered(FlyError):
    """A service answered with an error status."""

    def __init__(self, status: int, said: str) -> None:
        self.status = status
        super().__init__(said)


def group_of(machine: dict[str, Any]) -> str:
    """A Machine's process group."""
    metadata = (machine.get("config") or {}).get("metadata") or {}
    return str(metadata.get("fly_process_group", ""))


def _said(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("error") or answer.text)
    except (ValueError, AttributeError):
        return answer.text or f"status {answer.status_code}"
