"""Health checks, made as Fly makes them.

A check is a plain HTTP request directly to the Machine, from another address than the edge's and without
``X-Forwarded-Proto``. Only 2xx passes; redirects are not followed. A Machine whose check fails gets no requests and is
not restarted.

The checks of ``[checks]`` work in the same way on their own ports, but do not affect routing.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from parity.config.fly_tables import Check, TcpCheck
from parity.config.fly_toml import FlyConfig
from parity.fly.machines.driver import Address

OUTPUT_LIMIT = 1024


class Health(StrEnum):
    """The result of one check."""

    WAITING = "waiting"
    PASSING = "passing"
    CRITICAL = "critical"


@dataclass
class CheckState:
    """One check of one Machine; ``updated`` in Unix seconds. ``routes``: whether routing depends on it."""

    name: str
    health: Health = Health.WAITING
    output: str = ""
    updated: float = 0.0
    routes: bool = True

    def as_json(self) -> dict[str, object]:
        return {"name": self.name, "status": str(self.health), "output": self.output, "updated": self.updated}


def judge(status: int | None, *, in_grace: bool, before: Health) -> Health:
    """The new health after one result. Failures within the grace period do not count."""
    if status is not None and 200 <= status < 300:
        return Health.PASSING
    return before if in_grace and before is not Health.CRITICAL else Health.CRITICAL


def request_bytes(check: Check, address: Address) -> bytes:
    """The request that a check sends."""
    host = f"{address[0]}:{address[1]}"
    headers = {"Host": host, "User-Agent": "Consul Health Check", "Accept": "text/plain, text/*, */*"}
    headers.update(check.headers)
    lines = [f"{check.method.upper()} {check.path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join([*lines, "Connection: close", "", ""])).encode("latin-1")


def tls_context(check: Check) -> ssl.SSLContext | None:
    """TLS for ``protocol = "https"``; ``tls_skip_verify`` accepts any certificate."""
    if check.protocol != "https":
        return None
    context = ssl.create_default_context()
    if check.tls_skip_verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def connect(check: TcpCheck, address: Address, local: Address | None) -> tuple[int | None, str]:
    """Run a TCP check once. Returns 200 if the connection was accepted, else None, and a text for the output."""
    try:
        async with asyncio.timeout(check.timeout_s):
            _, writer = await asyncio.open_connection(*address, local_addr=local)
    except TimeoutError:
        return None, f"no connection within {check.timeout_s:g} s"
    except OSError as error:
        return None, f"{type(error).__name__}: {error}"
    writer.close()
    return 200, "connected"


async def call(check: Check, address: Address, local: Address | None) -> tuple[int | None, str]:
    """Run an HTTP check once. Returns the status, None without a response, and a text for the output."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(check.timeout_s):
            name = check.tls_server_name or address[0] if check.protocol == "https" else None
            reader, writer = await asyncio.open_connection(
                *address, local_addr=local, ssl=tls_context(check), server_hostname=name
            )
            writer.write(request_bytes(check, address))
            head = await reader.readuntil(b"\r\n")
            words = head.split(None, 2)
            if len(words) < 2 or not words[1].isdigit():
                return None, "the response is not HTTP"
            await reader.readuntil(b"\r\n\r\n") if check.method.lower() != "head" else None
            body = await reader.read(OUTPUT_LIMIT)
            return int(words[1]), body.decode("utf-8", "replace")
    except TimeoutError:
        return None, f"no response within {check.timeout_s:g} s"
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        return None, f"{type(error).__name__}: {error}"
    finally:
        if writer:
            writer.close()


@dataclass(frozen=True)
class Called:
    """A check with the name that Fly shows and the port that it calls.

    ``routes``: the Machine gets no requests while it fails. Checks of ``[checks]`` only delay a deploy.
    """

    name: str
    check: Check | TcpCheck
    port: int
    routes: bool = True


def checks_of(config: FlyConfig) -> list[Called]:
    """All checks of a Machine with this configuration."""
    service = config.service
    own: list[Check | TcpCheck] = [*service.checks, *service.tcp_checks]
    port = service.internal_port
    found = [
        Called(f"servicecheck-{number:02}-{'http' if isinstance(check, Check) else 'tcp'}-{port}", check, port)
        for number, check in enumerate(own)
    ]
    return found + [
        Called(name, check.called, check.port or port, routes=False) for name, check in config.group_checks.items()
    ]


class CheckRunner:
    """Runs the checks of a started Machine until ``close``. Calls ``changed`` when a result changes.

    ``host`` is the Machine's address. ``ports`` maps a port of the Machine to the port at that address, if it differs.
    While ``paused`` (a debugger is attached), a check without a response does not count.
    """

    def __init__(
        self,
        checks: Sequence[Called],
        host: str,
        ports: Mapping[int, int],
        local: Address | None,
        grace_interval: float,
        changed: Callable[[], None],
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        self.states = [CheckState(called.name, routes=called.routes) for called in checks]
        self._local, self._grace_interval, self._changed = local, grace_interval, changed
        self._paused = paused
        self._tasks = [
            asyncio.create_task(self._run(called.check, (host, ports.get(called.port, called.port)), state))
            for called, state in zip(checks, self.states, strict=True)
        ]

    @property
    def failing(self) -> bool:
        """Whether a check fails on which routing depends."""
        return any(state.routes and state.health is Health.CRITICAL for state in self.states)

    @property
    def routable(self) -> bool:
        """Whether all checks pass on which routing depends."""
        return all(not state.routes or state.health is Health.PASSING for state in self.states)

    @property
    def passing(self) -> bool:
        return all(state.health is Health.PASSING for state in self.states)

    async def _run(self, check: Check | TcpCheck, address: Address, state: CheckState) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        while True:
            if isinstance(check, Check):
                status, output = await call(check, address, self._local)
            else:
                status, output = await connect(check, address, self._local)
            if status is None and self._paused():
                started = loop.time()  # paused in the debugger: restart the grace period
                await asyncio.sleep(self._grace_interval)
                continue
            in_grace = loop.time() - started < check.grace_period_s
            before, state.health = state.health, judge(status, in_grace=in_grace, before=state.health)
            state.output, state.updated = output if status is None else f"{status}: {output}", time.time()
            if before is not state.health:
                self._changed()
            quick = in_grace and state.health is Health.WAITING
            await asyncio.sleep(min(self._grace_interval, check.interval_s) if quick else check.interval_s)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
