"""The admin API: objects, what was seen, behaviour, snapshots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from tests.parity.r2.conftest import BUCKET, StandIn

from parity.r2.content import Content
from parity.r2.errors import upstream_failed
from parity.r2.store.interface import Attributes, ObjectInfo
from parity.r2.store.moto import MotoStore


def _ask(r2: StandIn, method: str, path: str, **more: Any) -> httpx.Response:
    return httpx.request(method, f"{r2.admin_url}{path}", trust_env=False, timeout=60, **more)


def test_objects_are_listed_by_prefix_and_page(r2: StandIn) -> None:
    for key in ("a/1", "a/2", "b/1"):
        r2.client().put_object(Bucket=BUCKET, Key=key, Body=b"xy")
    page = _ask(r2, "GET", "/r2/objects?prefix=a/").json()
    assert [(found["key"], found["size"]) for found in page["objects"]] == [("a/1", 2), ("a/2", 2)]
    first = _ask(r2, "GET", "/r2/objects?limit=2").json()
    rest = _ask(r2, "GET", f"/r2/objects?limit=2&after={first['objects'][-1]['key']}").json()
    assert first["truncated"]
    assert [found["key"] for found in rest["objects"]] == ["b/1"]
    assert _ask(r2, "GET", "/r2/object?key=a/1").content == b"xy"
    assert _ask(r2, "GET", "/r2/object?key=none").status_code == 404


def test_what_was_seen_tells_operation_class_bytes_prefix_and_request_id(r2: StandIn) -> None:
    s3 = r2.client()
    s3.meta.events.register("before-sign.s3", lambda request, **_: request.headers.add_header("x-request-id", "req-1"))
    s3.put_object(Bucket=BUCKET, Key="staging/k", Body=b"12345")
    s3.get_object(Bucket=BUCKET, Key="staging/k")["Body"].read()
    s3.delete_object(Bucket=BUCKET, Key="staging/k")
    with pytest.raises(ClientError):
        s3.put_object(Bucket=BUCKET, Key="staging/k", Body=b"1", IfMatch='"none"')
    told = _ask(r2, "GET", "/r2/requests?prefix=staging/").json()
    fields = ("operation", "billing", "status", "bytes_in", "bytes_out", "request_id")
    assert [tuple(seen[name] for name in fields) for seen in told["requests"][:3]] == [
        ("PutObject", "A", 200, 5, 0, "req-1"),
        ("GetObject", "B", 200, 0, 5, "req-1"),
        ("DeleteObject", "", 204, 0, 0, "req-1"),
    ]
    # The failed precondition is billed, the delete is not.
    total = told["by_prefix"]["staging"]
    assert (total["class_a"], total["class_b"], total["requests"]) == (2, 1, 4)
    assert total["dollars"] == pytest.approx(2 * 4.50e-6 + 0.36e-6)
    assert _ask(r2, "DELETE", "/r2/requests").status_code == 204
    assert _ask(r2, "GET", "/r2/requests").json()["requests"] == []


def test_lists_and_deletes_of_many_count_for_the_prefix_that_they_are_about(r2: StandIn) -> None:
    s3 = r2.client()
    s3.list_objects_v2(Bucket=BUCKET, Prefix="staging/users/")
    s3.list_multipart_uploads(Bucket=BUCKET, Prefix="staging/")
    s3.list_objects_v2(Bucket=BUCKET)
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "dev/a"}, {"Key": "dev/b"}]})
    told = _ask(r2, "GET", "/r2/requests").json()
    counts = {prefix: (found["requests"], found["class_a"]) for prefix, found in told["by_prefix"].items()}
    assert counts == {"": (1, 1), "dev": (1, 0), "staging": (2, 2)}
    listed = _ask(r2, "GET", "/r2/requests?prefix=staging/").json()["requests"]
    assert [(seen["operation"], seen["key"], seen["prefix"]) for seen in listed] == [
        ("ListObjects", "", "staging/users/"),
        ("ListMultipartUploads", "", "staging/"),
    ]


def test_an_unknown_filter_or_a_wrong_limit_is_refused(r2: StandIn) -> None:
    for query in ("colour=red", "limit=0", "limit=x"):
        answer = _ask(r2, "GET", f"/r2/requests?{query}")
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"


def test_behaviour_changes_from_the_next_request_on(r2: StandIn) -> None:
    # The window lasts an hour: a second could pass between the two writes.
    window = {"write_window": "3600-3600", "rules_off": "16"}
    changed = _ask(r2, "POST", "/r2/behaviour", json=window).json()
    assert (changed["write_window"], changed["rules_off"], changed["latency"]) == ("3600-3600", "16", "off")
    r2.client().put_object(Bucket=BUCKET, Key="k", Body=b"", IfMatch='"none"')
    with pytest.raises(ClientError, match="Reduce your concurrent request rate"):
        r2.client().put_object(Bucket=BUCKET, Key="k", Body=b"")
    refused = _ask(r2, "POST", "/r2/behaviour", json={"latency": "slow"})
    assert (refused.status_code, "off or realistic" in refused.json()["detail"]) == (400, True)
    assert _ask(r2, "DELETE", "/r2/behaviour").json()["rules_off"] == ""


def test_a_snapshot_is_what_a_restore_goes_back_to(start: Callable[..., StandIn], tmp_path: Path) -> None:
    r2 = start(state=tmp_path / "r2")
    s3, large = r2.client(), b"L" * (2 << 20)
    s3.put_object(Bucket=BUCKET, Key="kept", Body=b"1")
    s3.put_object(Bucket=BUCKET, Key="large", Body=large)
    assert _ask(r2, "POST", "/r2/snapshot", json={"name": "before"}).status_code == 200
    s3.put_object(Bucket=BUCKET, Key="kept", Body=b"2")
    s3.delete_object(Bucket=BUCKET, Key="large")
    s3.put_object(Bucket=BUCKET, Key="new", Body=b"")
    for _ in range(2):
        assert _ask(r2, "POST", "/r2/restore", json={"name": "before"}).status_code == 204
        assert s3.get_object(Bucket=BUCKET, Key="kept")["Body"].read() == b"1"
        assert s3.get_object(Bucket=BUCKET, Key="large")["Body"].read() == large
        assert [found["Key"] for found in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["kept", "large"]
        s3.delete_object(Bucket=BUCKET, Key="large")
        _ask(r2, "POST", "/r2/snapshot")
    assert _ask(r2, "GET", "/r2/snapshots").json() == {"snapshots": ["before"]}


def test_a_snapshot_may_be_made_again_over_the_one_that_was_restored(
    start: Callable[..., StandIn], tmp_path: Path
) -> None:
    r2 = start(state=tmp_path / "r2")
    s3, large = r2.client(), b"L" * (2 << 20)
    s3.put_object(Bucket=BUCKET, Key="large", Body=large)
    for path in ("snapshot", "restore", "snapshot", "restore"):
        assert _ask(r2, "POST", f"/r2/{path}", json={"name": "same"}).is_success
        assert s3.get_object(Bucket=BUCKET, Key="large")["Body"].read() == large


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden", "x" * 65])
def test_a_name_that_is_no_name_makes_no_snapshot(start: Callable[..., StandIn], tmp_path: Path, name: str) -> None:
    r2 = start(state=tmp_path / "r2")
    assert _ask(r2, "POST", "/r2/restore", json={"name": name}).status_code in (400, 409)
    assert name == "" or _ask(r2, "POST", "/r2/snapshot", json={"name": name}).status_code == 409


def test_a_snapshot_that_is_torn_is_refused_and_the_bucket_stays_as_it_is(
    start: Callable[..., StandIn], tmp_path: Path
) -> None:
    r2 = start(state=tmp_path / "r2")
    s3 = r2.client()
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"1")
    _ask(r2, "POST", "/r2/snapshot", json={"name": "torn"})
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"2")
    manifest = tmp_path / "r2" / "snapshots" / "torn" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:50])
    answer = _ask(r2, "POST", "/r2/restore", json={"name": "torn"})
    assert (answer.status_code, "manifest.json" in answer.json()["detail"]) == (409, True)
    assert s3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"2"


def test_a_reset_that_the_store_refuses_says_why(r2: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> None:
        raise upstream_failed("it is down")

    monkeypatch.setattr(r2.service.store, "reset", fail)
    answer = _ask(r2, "POST", "/r2/reset")
    assert (answer.status_code, "it is down" in answer.json()["detail"]) == (502, True)


def test_where_nothing_is_saved_a_snapshot_says_so(r2: StandIn) -> None:
    assert _ask(r2, "POST", "/r2/snapshot").json() == {"saved": False, "folder": "", "name": ""}


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"[]"])
def test_a_body_that_is_no_object_is_refused(r2: StandIn, body: bytes) -> None:
    assert _ask(r2, "POST", "/r2/faults", content=body).status_code == 400


@pytest.mark.parametrize("kind", ["té/日本", "text/plain", "a\x01/b"])
def test_an_object_is_read_whatever_its_type_is_called(r2: StandIn, kind: str) -> None:
    info = ObjectInfo("k", 1, "e" * 32, 0, Attributes({"content-type": kind}))

    async def put() -> None:
        store = r2.service.store
        assert isinstance(store, MotoStore)
        store.put_now(BUCKET, info, Content.of(b"1"))

    r2.call(put())
    answer = _ask(r2, "GET", "/r2/object?key=k")
    assert (answer.status_code, answer.content) == (200, b"1")
    raw = dict(answer.headers.raw)[b"content-type"]
    assert raw.decode() == kind.replace("\x01", " ")


def test_health_tells_of_a_missing_bucket(r2: StandIn) -> None:
    assert _ask(r2, "GET", "/r2/healthz").status_code == 200
    r2.call(r2.service.store.delete_bucket(BUCKET))
    answer = _ask(r2, "GET", "/r2/healthz")
    assert (answer.status_code, BUCKET in answer.json()["detail"]) == (503, True)


def test_reset_empties_the_bucket_and_forgets_faults(r2: StandIn) -> None:
    r2.client().put_object(Bucket=BUCKET, Key="k", Body=b"")
    _ask(r2, "POST", "/r2/faults", json={"status": 500})
    assert _ask(r2, "POST", "/r2/reset").status_code == 204
    assert "Contents" not in r2.client().list_objects_v2(Bucket=BUCKET)
    assert _ask(r2, "GET", "/r2/faults").json() == {"faults": []}


def test_the_buckets_cors_policy_can_be_changed_and_put_back(r2: StandIn) -> None:
    configured = _ask(r2, "GET", "/r2/cors").json()
    rules = [{"AllowedOrigins": ["https://elsewhere.example"], "AllowedMethods": ["GET"]}]
    changed = _ask(r2, "PUT", "/r2/cors", json={"CORSRules": rules}).json()
    assert [rule["AllowedOrigins"] for rule in changed["CORSRules"]] == [["https://elsewhere.example"]]
    assert _ask(r2, "GET", "/r2/cors").json() == changed
    assert _ask(r2, "PUT", "/r2/cors", json={"CORSRules": [{"AllowedOrigins": ["x/y"]}]}).status_code == 400
    assert _ask(r2, "DELETE", "/r2/cors").json() == configured


def test_lifecycle_rules_and_locks_are_set_told_and_carried_out(r2: StandIn) -> None:
    rules = {"Rules": [{"ID": "a", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 1}}]}
    locks = {"rules": [{"id": "l", "enabled": True, "prefix": "tmp/held", "condition": {"type": "Indefinite"}}]}
    assert _ask(r2, "PUT", "/r2/lifecycle", json=rules).json() == rules == _ask(r2, "GET", "/r2/lifecycle").json()
    assert _ask(r2, "PUT", "/r2/locks", json=locks).json() == locks == _ask(r2, "GET", "/r2/locks").json()
    for key in ("tmp/a", "tmp/held", "kept"):
        r2.client().put_object(Bucket=BUCKET, Key=key, Body=b"")
    met = _ask(r2, "POST", "/r2/lifecycle/run", json={"days": 2}).json()
    assert met == {"deleted": ["tmp/a"], "infrequent": [], "aborted": [], "locked": ["tmp/held"]}
    assert _ask(r2, "PUT", "/r2/locks", json={"rules": []}).json() == {"rules": []}
    assert _ask(r2, "POST", "/r2/lifecycle/run", json={"days": 2}).json()["deleted"] == ["tmp/held"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/r2/lifecycle", {"Rules": [{"ID": "a"}]}),
        ("PUT", "/r2/locks", {"rules": [{"id": "a"}]}),
        ("POST", "/r2/lifecycle/run", {"days": "many"}),
        ("POST", "/r2/lifecycle/run", {"days": -1}),
    ],
)
def test_a_wrong_rule_or_clock_is_refused_with_the_reason(r2: StandIn, method: str, path: str, body: object) -> None:
    answer = _ask(r2, method, path, json=body)
    assert answer.status_code == 400
    assert "rule 1" in answer.json()["detail"] or "days" in answer.json()["detail"]
