"""Faults do what they say, as often as they say, and a fault that never fires fails its test."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError, ResponseStreamingError, SSLError
from tests.parity.r2.conftest import BUCKET, OBJECT_TOKEN, ORIGIN, SETTINGS, StandIn
from tests.parity.r2.lab import HOST, Answer, Call, Lab, lab
from urllib3.exceptions import ProtocolError

from parity.r2.admin import OPERATIONS
from parity.r2.faults import Fault, FaultError, FaultTable
from parity.r2.sigv4 import Token
from parity.r2.testing import Faults, r2_faults

# Each fault of a test fires, or the test fails.
faults = r2_faults

DELETE = b"<Delete><Object><Key>dev/1</Key></Object><Object><Key>staging/2</Key></Object></Delete>"


@pytest.fixture
def r2_admin_url(r2: StandIn) -> str:
    return r2.admin_url


@pytest.fixture
async def ask() -> AsyncIterator[Lab]:
    async with lab(SETTINGS) as found:
        yield found


def _set(ask: Lab, **fault: object) -> Fault:
    return ask.front.faults.add(fault, OPERATIONS)


async def _preflight(ask: Lab) -> Answer:
    headers = {"host": HOST, "origin": ORIGIN, "access-control-request-method": "PUT"}
    return await ask.raw("OPTIONS", f"/{BUCKET}/k", "", headers)


def test_a_status_is_answered_for_the_matching_key_and_operation_only(r2: StandIn, faults: Faults) -> None:
    s3 = r2.client()
    id_ = faults.add(key="staging/*", operation="PutObject", status=503, count=2)
    s3.put_object(Bucket=BUCKET, Key="dev/k", Body=b"")
    for _ in range(2):
        with pytest.raises(ClientError, match="ServiceUnavailable"):
            s3.put_object(Bucket=BUCKET, Key="staging/k", Body=b"")
    s3.put_object(Bucket=BUCKET, Key="staging/k", Body=b"")
    assert faults.fired(id_) == 2


def test_a_connection_dropped_before_the_commit_leaves_nothing_and_after_it_leaves_the_object(
    r2: StandIn, faults: Faults
) -> None:
    s3 = r2.client()
    for drop, there in (("before", False), ("after", True)):
        faults.add(key=drop, operation="PutObject", drop=drop)
        with pytest.raises((ConnectionClosedError, HTTPClientError, SSLError)):
            s3.put_object(Bucket=BUCKET, Key=drop, Body=b"x")
        keys = [found["Key"] for found in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
        assert (drop in keys) is there


def test_a_cut_body_ends_early(r2: StandIn, faults: Faults) -> None:
    s3 = r2.client()
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"x" * 1_000_000)
    faults.add(operation="GetObject", cut=1000)
    with pytest.raises((ProtocolError, ResponseStreamingError, HTTPClientError)):
        s3.get_object(Bucket=BUCKET, Key="k")["Body"].read()
    assert len(s3.get_object(Bucket=BUCKET, Key="k")["Body"].read()) == 1_000_000


def test_a_skewed_clock_refuses_signatures(r2: StandIn, faults: Faults) -> None:
    faults.add(skew=3600)
    with pytest.raises(ClientError, match="RequestTimeTooSkewed"):
        r2.client().list_objects_v2(Bucket=BUCKET)


def test_a_delay_comes_before_the_answer(r2: StandIn, faults: Faults) -> None:
    faults.add(operation="ListObjects", delay=0.2)
    r2.client().list_objects_v2(Bucket=BUCKET)
    seen = next(seen for seen in r2.service.front.seen.requests if seen.fault)
    assert seen.seconds >= 0.2


NOTHING_COMES_OF = [
    ("anonymous", {"status": 503}, Call(sign=""), 400),
    ("unknown key", {"drop": "before"}, Call("PUT", body=b"x", token=Token("nobody", "x")), 401),
    ("unknown operation", {"status": 503}, Call("PATCH"), 404),
    ("refused header", {"status": 503}, Call("PUT", headers={"x-amz-tagging": "a"}, body=b"x"), 501),
    ("failed precondition", {"drop": "after"}, Call("PUT", headers={"if-match": '"no"'}, body=b"x"), 412),
    ("missing key", {"drop": "after"}, Call(path=f"/{BUCKET}/none"), 404),
    ("short body", {"cut": 1000}, Call(), 200),
    ("exact body", {"cut": 5}, Call(), 200),
    ("empty body", {"cut": 0}, Call("PUT", body=b"12345"), 200),
    ("no body", {"cut": 0}, Call("HEAD"), 200),
    ("long-lived URL", {"skew": 3600.0}, Call(sign="query", expires=7200), 200),
    ("refused anyway", {"skew": 3600.0}, Call(token=Token(OBJECT_TOKEN.access_key, "wrong"), sign=""), 400),
]


@pytest.mark.parametrize(
    ("fault", "call", "status"), [case[1:] for case in NOTHING_COMES_OF], ids=[case[0] for case in NOTHING_COMES_OF]
)
async def test_a_fault_that_nothing_came_of_has_not_fired_and_is_there_for_the_next_request(
    ask: Lab, fault: dict[str, object], call: Call, status: int
) -> None:
    await ask("PUT", body=b"12345")
    found = _set(ask, **fault)
    answer = await ask(**vars(call))
    assert (answer.status, found.fired, ask.front.seen.requests[-1].fault) == (status, 0, "")
    await ask("GET", sign="query", expires=900)
    # It is signed for 15 minutes, there, and 5 bytes long.
    fires = fault.get("cut", 0) == 0
    assert found.fired == fires
    assert found.bound == 0


async def test_a_preflight_meets_only_a_fault_that_names_it(ask: Lab) -> None:
    other, named = _set(ask, status=503), _set(ask, operation="OPTIONS", status=500)
    assert [(await _preflight(ask)).status for _ in range(2)] == [500, 204]
    assert (other.fired, named.fired) == (0, 1)


async def test_a_fault_that_fired_names_itself_in_the_log(ask: Lab) -> None:
    fault = _set(ask, cut=2)
    await ask("PUT", body=b"12345")
    await ask()
    assert [(seen.fault, seen.bytes_out) for seen in ask.front.seen.requests] == [("", 0), (fault.id, 2)]


async def test_requests_at_once_meet_a_fault_no_more_often_than_it_says(ask: Lab) -> None:
    fault = _set(ask, drop="after", count=2)
    answers = await asyncio.gather(*(ask("PUT", f"/{BUCKET}/{number}", body=b"x") for number in range(5)))
    assert sorted(answer.status for answer in answers) == [0, 0, 200, 200, 200]
    assert fault.fired == 2


async def test_a_list_meets_the_faults_of_the_prefix_that_it_asks_for(ask: Lab) -> None:
    fault = _set(ask, key="staging/*", status=503, count=3)
    for prefix, status in (("staging%2Fx%2F", 503), ("dev%2F", 200), ("", 200), ("staging%2F", 503)):
        assert (await ask("GET", f"/{BUCKET}", query=f"list-type=2&prefix={prefix}")).status == status
    assert fault.fired == 2


async def test_a_delete_of_many_meets_the_faults_of_any_of_its_keys(ask: Lab) -> None:
    for key in ("dev/1", "staging/2"):
        await ask("PUT", f"/{BUCKET}/{key}", body=b"x")
    other, fault = _set(ask, key="prod/*", status=503), _set(ask, key="staging/*", status=503)
    assert [(await ask("POST", f"/{BUCKET}", query="delete=", body=DELETE)).status for _ in range(2)] == [503, 200]
    assert (other.fired, fault.fired) == (0, 1)
    assert (await ask(path=f"/{BUCKET}/staging/2")).status == 404


async def test_a_429_on_request_says_when_to_come_again_as_r2_does(ask: Lab) -> None:
    _set(ask, status=429)
    answer = await ask("PUT", body=b"x")
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (429, "TooManyRequests", "5")


async def test_what_took_effect_is_billed_though_its_answer_was_lost(ask: Lab) -> None:
    _set(ask, drop="after")
    assert (await ask("PUT", f"/{BUCKET}/staging/k", body=b"x")).status == 0
    seen = ask.front.seen
    assert (seen.requests[-1].status, seen.requests[-1].unsent, seen.by_prefix["staging"].class_a) == (0, 200, 1)
    _set(ask, drop="before")
    await ask("PUT", f"/{BUCKET}/staging/k", body=b"x")
    assert seen.by_prefix["staging"].class_a == 1


def test_a_rate_fires_now_and_then() -> None:
    table = FaultTable(random.Random(1))
    fault = table.add({"rate": 0.25, "status": 500}, OPERATIONS)
    for _ in range(4000):
        with table.strike("PutObject", ["k"]) as strike:
            strike.refusal()
    assert 800 < fault.fired < 1200


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ({}, "nothing would happen"),
        ({"status": 200}, "status must be"),
        ({"status": 500, "colour": 1}, "unknown field 'colour'"),
        ({"drop": "sometimes"}, "drop must be"),
        ({"delay": "1"}, "delay must be a number"),
        ({"delay": float("nan")}, "delay must be a number"),
        ({"status": 500, "operation": "PutObjekt"}, "does not exist"),
        ({"status": 500, "count": 0}, "count must be"),
        ({"status": 500, "count": 1.5}, "whole number"),
        ({"status": 500, "rate": 2}, "rate must be"),
        ({"status": 500, "key": 1}, "key must be a text"),
        ({"status": True}, "status must be"),
        ({"status": 500, "drop": "after"}, "status and drop do not both happen"),
        ({"cut": 0, "skew": 1}, "skew and cut do not both happen"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_the_field(fault: dict[str, object], problem: str) -> None:
    with pytest.raises(FaultError, match=problem):
        FaultTable().add(fault, OPERATIONS)


def test_the_admin_api_refuses_them_too(r2: StandIn) -> None:
    answer = httpx.post(f"{r2.admin_url}/r2/faults", json={"status": 200}, trust_env=False, timeout=60)
    assert answer.status_code == 400
    assert "status must be" in answer.json()["detail"]


def test_a_fault_that_never_fired_is_told(r2: StandIn) -> None:
    found = Faults(r2.admin_url)
    fires, never = found.add(operation="ListObjects", delay=0.001), found.add(key="nobody", status=500)
    r2.client().list_objects_v2(Bucket=BUCKET)
    assert found.fired(fires) == 1
    assert found.finish() == [never]


def test_the_fixture_fails_a_test_whose_fault_never_fired(r2: StandIn, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        f"""
import pytest
pytest_plugins = ["parity.r2.testing"]
@pytest.fixture
def r2_admin_url():
    return {r2.admin_url!r}
def test_asks_for_a_fault_and_does_nothing(r2_faults):
    r2_faults.add(key="nobody", status=500)
"""
    )
    source = Path(__file__).parents[3] / "src"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(source), "PATH": ""},
        cwd=tmp_path,
        check=False,
    )
    assert "faults that never fired: fault-" in run.stdout
    assert run.returncode == 1
