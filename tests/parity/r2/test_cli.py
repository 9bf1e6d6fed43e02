"""``parity r2`` against a running stand-in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.parity.r2.conftest import BUCKET, StandIn
from tests.ports import free_ports

from parity.r2 import cli
from parity.stack.errors import StackError

Run = Callable[..., Result]


@pytest.fixture
def r2(start: Callable[..., StandIn], tmp_path: Path) -> StandIn:
    return start(state=tmp_path / "r2")


@pytest.fixture
def unused_port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def run(r2: StandIn, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(cli, "_url", lambda: r2.admin_url)

    def invoke(*arguments: str) -> Result:
        result = CliRunner().invoke(cli.group, list(arguments))
        assert result.exception is None, result.output
        return result

    return invoke


def test_objects_are_listed_and_read(r2: StandIn, run: Run) -> None:
    r2.client().put_object(Bucket=BUCKET, Key="a/1", Body=b"\x00bytes")
    r2.client().put_object(Bucket=BUCKET, Key="b", Body=b"")
    assert run("ls", "a/").output == "           6  a/1\n"
    assert [found["key"] for found in json.loads(run("ls", "--json").output)] == ["a/1", "b"]
    assert run("cat", "a/1").stdout_bytes == b"\x00bytes"


def test_a_snapshot_is_made_listed_and_restored(r2: StandIn, run: Run) -> None:
    s3 = r2.client()
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"1")
    run("snapshot", "first")
    s3.delete_object(Bucket=BUCKET, Key="k")
    assert run("restore").output == "first\n"
    run("restore", "first")
    assert s3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"1"
    run("reset", "--yes")
    assert run("ls").output == ""


def test_a_snapshot_where_nothing_is_saved_is_refused(
    start: Callable[..., StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    unsaved = start()
    monkeypatch.setattr(cli, "_url", lambda: unsaved.admin_url)
    with pytest.raises(StackError, match="nothing is saved here"):
        CliRunner().invoke(cli.group, ["snapshot"], catch_exceptions=False)


def test_a_fault_is_set_listed_and_cleared_with_what_it_did(r2: StandIn, run: Run) -> None:
    run("fault", "add", "--operation", "ListObjects", "--delay", "0.001")
    assert "operation=ListObjects" in run("fault").output
    r2.client().list_objects_v2(Bucket=BUCKET)
    assert "fired 1 time(s)" in run("fault", "clear").output
    assert run("fault").output == ""


def test_costs_are_told_by_endpoint_of_the_backend(
    r2: StandIn, run: Run, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    s3 = r2.client()
    s3.meta.events.register("before-send.s3", lambda request, **_: request.headers.update({"x-request-id": "id-1"}))
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"1")
    s3.get_object(Bucket=BUCKET, Key="k")
    original = cli._admin
    edge = [{"id": "id-1", "method": "POST", "target": "/api/clips?x=1"}]
    monkeypatch.setattr(
        cli, "_admin", lambda method, path, body=None: edge if path == "/fly/requests" else original(method, path, body)
    )
    monkeypatch.setenv("PARITY_API_URL", f"https://127.0.0.1:{unused_port}")
    monkeypatch.setenv("PARITY_CA", str(r2.ca))
    told = run("cost", "--json")
    tally = json.loads(told.stdout)["POST /api/clips"]
    assert (tally["calls"], tally["class_a"], tally["class_b"]) == (1, 1, 1)
    assert "paths are shown as they were asked for" in told.stderr
    assert "POST /api/clips" in run("cost").stdout


def test_the_lifecycle_runs_ahead_of_time_and_tells_what_it_met(r2: StandIn, run: Run) -> None:
    r2.client().create_multipart_upload(Bucket=BUCKET, Key="unfinished")
    assert run("lifecycle", "--days", "6").output == ""
    assert run("lifecycle", "--days", "8").output == "aborted  unfinished\n"
