"""Health checks: what a result means, and what a call looks like to the app."""

from __future__ import annotations

import asyncio
import json
import ssl

import pytest
from tests.parity.fly.support import CHECKS, QUICK, Edge, StartEdge, until

from parity.certs import Certificates
from parity.config.fly_tables import Check, TcpCheck
from parity.fly.machines.checks import Health, call, connect, judge, request_bytes
from parity.fly.machines.state import State


@pytest.mark.parametrize("status", [200, 204, 299])
def test_only_2xx_passes(status: int) -> None:
    assert judge(status, in_grace=False, before=Health.CRITICAL) is Health.PASSING


@pytest.mark.parametrize("status", [None, 199, 301, 404, 500])
def test_everything_else_is_critical_and_redirects_are_not_followed(status: int | None) -> None:
    assert judge(status, in_grace=False, before=Health.PASSING) is Health.CRITICAL


def test_failures_within_the_grace_period_do_not_count() -> None:
    assert judge(None, in_grace=True, before=Health.WAITING) is Health.WAITING


def test_a_call_has_the_checks_method_path_and_headers_and_no_forwarded_proto() -> None:
    check = Check.model_validate({"path": "/x", "method": "head", "headers": {"X-Forwarded-Proto": "y", "Host": "a"}})
    assert request_bytes(check, ("10.0.0.1", 8080)).startswith(b"HEAD /x HTTP/1.1\r\nHost: a\r\n")
    assert b"x-forwarded-proto" not in request_bytes(Check(), ("10.0.0.1", 8080)).lower()


async def test_a_check_comes_straight_to_the_app_without_what_the_edge_adds(start_edge: StartEdge) -> None:
    edge = await start_edge(checks=CHECKS)
    seen = await edge.get("/checks")
    assert seen["user-agent"] == "Consul Health Check"
    assert not [name for name in seen if name.startswith(("x-forwarded", "fly-"))]


async def status_of(edge: Edge, path: str = "/nowhere") -> int:
    async with edge.client() as client:
        return (await client.get(path)).status_code


async def test_a_machine_whose_check_fails_is_unroutable_and_not_restarted(start_edge: StartEdge) -> None:
    edge = await start_edge(checks=QUICK)
    pid = (await edge.get("/show"))["pid"]
    assert await status_of(edge, "/sick") == 200
    await until(lambda: edge.machine.checks.failing, "the check fails")
    assert await status_of(edge) == 503
    assert edge.machine.state is State.STARTED
    (edge.state_dir / "machines" / edge.machine.id / "source" / "sick").unlink()
    await until(lambda: edge.machine.healthy, "the check passes")
    assert (await edge.get("/show"))["pid"] == pid


async def test_a_machine_gets_no_traffic_before_its_first_check_where_that_is_set(start_edge: StartEdge) -> None:
    edge = await start_edge(checks=QUICK, environment={"HEALTH": "500"}, route_unchecked=False, wait=False)
    assert await status_of(edge) == 503


async def test_what_a_check_saw_is_shown(start_edge: StartEdge) -> None:
    edge = await start_edge(checks=CHECKS)
    (check,) = edge.machine.as_json()["checks"]
    assert (check["status"], check["output"]) == ("passing", "200: well")
    assert json.dumps(edge.machine.as_json())


async def serving(certificates: Certificates, host: str) -> asyncio.Server:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")
        writer.close()

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates.chain, certificates.key)
    return await asyncio.start_server(answer, host, 0, ssl=tls)


async def test_a_check_over_tls_verifies_unless_it_is_told_not_to(certificates: Certificates) -> None:
    async with await serving(certificates, "127.0.0.1") as server:
        address = ("127.0.0.1", int(server.sockets[0].getsockname()[1]))
        unverified = Check.model_validate({"protocol": "https", "tls_skip_verify": True})
        assert await call(unverified, address, None) == (200, "well")
        status, output = await call(Check(protocol="https"), address, None)
        assert status is None
        assert "certificate" in output.lower()


async def test_a_tcp_check_passes_when_the_port_accepts_a_connection(certificates: Certificates) -> None:
    async with await serving(certificates, "127.0.0.1") as server:
        address = ("127.0.0.1", int(server.sockets[0].getsockname()[1]))
        assert (await connect(TcpCheck(), address, None))[0] == 200
    assert (await connect(TcpCheck(), address, None))[0] is None


async def test_a_service_with_a_tcp_check_is_healthy_by_it(start_edge: StartEdge) -> None:
    edge = await start_edge(checks='[[http_service.tcp_checks]]\ninterval = "1s"\n')
    assert [state.health for state in edge.machine.checks.states] == [Health.PASSING]
    assert "-tcp-" in edge.machine.checks.states[0].name
