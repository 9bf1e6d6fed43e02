"""HTTP calls to Fly's APIs as flyctl makes them: GraphQL, the Machines API (flaps) and the web API (uiex).

A promotion starts some 20 of these commands, each as a process of its own. They use urllib, because importing httpx
takes longer than all calls of most commands.
"""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode

# Seconds: how long flyctl tries to get a lease that another client holds, the pause between two tries, and the interval
# at which it renews a lease.
LEASE_DEADLINE_S = float(os.environ.get("FLY_DOUBLE_LEASE_DEADLINE_S", "60"))
LEASE_PAUSE_S = 1.0
LEASE_EVERY_S = 4.0
LEASE_S = 13  # how long a lease of a deploy holds without being renewed
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
        self._headers = {"Authorization": f"Bearer {token}", "User-Agent": "flyctl-double"}
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
        headers = {**self._headers, "fly-machine-lease-nonce": nonce} if nonce else self._headers
        status, content = exchange(method, self._bases[service] + path, headers, body)
        if status >= 400:
            raise Answered(status, _said(status, content))
        return json.loads(content) if content else None

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


def exchange(method: str, url: str, headers: Mapping[str, str] | None = None, body: Any = None) -> tuple[int, bytes]:
    """Send a request, ``body`` as JSON, without a proxy. Returns the status and content of any answer.

    Raises ``FlyError`` if there is no answer.
    """
    data = None if body is None else json.dumps(body).encode()
    content_type = {} if body is None else {"Content-Type": "application/json"}
    try:
        request = urllib.request.Request(url, data, {**(headers or {}), **content_type}, method=method)
        with _opener.open(request, timeout=CALL_TIMEOUT_S) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except (OSError, HTTPException, ValueError) as error:
        raise FlyError(f'{method} "{url}": {getattr(error, "reason", error)}') from None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _said(status: int, content: bytes) -> str:
    text = content.decode(errors="replace")
    try:
        return str(json.loads(text).get("error") or text)
    except (ValueError, AttributeError):
        return text or f"status {status}"
