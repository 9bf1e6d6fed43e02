"""Faults do what they say, as often as they say, and a fault that never fires fails its test."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError, ResponseStreamingError, SSLError
from tests.parity.r2.conftest import BUCKET, StandIn
from urllib3.exceptions import ProtocolError

from parity.r2.admin import OPERATIONS
from parity.r2.faults import FaultError, FaultTable
from parity.r2.testing import Faults


@pytest.fixture
def faults(r2: StandIn) -> Iterator[Faults]:
    found = Faults(r2.admin_url)
    yield found
    found.finish()


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


def test_a_rate_fires_now_and_then() -> None:
    table = FaultTable(random.Random(1))
    table.add({"rate": 0.25, "status": 500}, OPERATIONS)
    fired = sum(table.take("PutObject", "k") is not None for _ in range(4000))
    assert 800 < fired < 1200


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
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_the_field(fault: dict[str, object], problem: str) -> None:
    with pytest.raises(FaultError, match=problem):
        FaultTable().add(fault, OPERATIONS)


def test_the_admin_api_refuses_them_too(r2: StandIn) -> None:
    answer = httpx.post(f"{r2.admin_url}/r2/faults", json={"status": 200}, trust_env=False)
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
