"""Lifecycle rules: as R2 takes and tells them, and what they do to objects and uploads on an accelerated clock."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from tests.parity.r2.conftest import ADMIN_TOKEN, BUCKET, SETTINGS, StandIn
from tests.parity.r2.lab import Answer, Lab, lab

from parity.r2 import lifecycle, locks
from parity.r2.lifecycle import DAY, LifecycleError
from parity.r2.store.interface import Attributes, ObjectInfo


@pytest.fixture
async def ask() -> AsyncIterator[Lab]:
    async with lab(SETTINGS) as found:
        yield found


async def _put_rules(ask: Lab, *rules: str) -> Answer:
    body = f"<LifecycleConfiguration>{''.join(f'<Rule>{rule}</Rule>' for rule in rules)}</LifecycleConfiguration>"
    return await ask("PUT", f"/{BUCKET}", query="lifecycle=", body=body.encode(), token=ADMIN_TOKEN)


def _rule(prefix: str, action: str, *, id_: str = "r", status: str = "Enabled") -> str:
    return f"<ID>{id_}</ID><Status>{status}</Status><Filter><Prefix>{prefix}</Prefix></Filter>{action}"


EXPIRE = "<Expiration><Days>3</Days></Expiration>"


async def test_a_new_bucket_has_the_rule_that_aborts_uploads_after_a_week(ask: Lab) -> None:
    answer = await ask("GET", f"/{BUCKET}", query="lifecycle=", token=ADMIN_TOKEN)
    days = answer.xml.findtext("{*}Rule/{*}AbortIncompleteMultipartUpload/{*}DaysAfterInitiation")
    assert (answer.status, days) == (200, "7")
    assert (await ask("DELETE", f"/{BUCKET}", query="lifecycle=", token=ADMIN_TOKEN)).status == 204
    gone = await ask("GET", f"/{BUCKET}", query="lifecycle=", token=ADMIN_TOKEN)
    assert (gone.status, gone.code) == (404, "NoSuchLifecycleConfiguration")


async def test_a_token_for_objects_may_not_see_or_change_the_rules(ask: Lab) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = await ask(method, f"/{BUCKET}", query="lifecycle=", body=b"x" if method == "PUT" else b"")
        assert (answer.status, answer.code) == (403, "AccessDenied")


async def test_rules_are_told_as_they_were_put(r2: StandIn) -> None:
    s3 = r2.client(ADMIN_TOKEN)
    rules = [
        {"ID": "a", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 90}},
        {
            "ID": "b",
            "Status": "Disabled",
            "Filter": {"Prefix": ""},
            "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}],
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        },
    ]
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": rules})
    assert s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"] == rules


@pytest.mark.parametrize(
    ("rule", "status", "code"),
    [
        # Without Status: cloudflare-docs issue 8102.
        (f"<ID>r</ID><Filter><Prefix/></Filter>{EXPIRE}", 400, "MalformedXML"),
        (_rule("", ""), 400, "MalformedXML"),
        (_rule("", "<Expiration><Days>0</Days></Expiration>"), 400, "MalformedXML"),
        (_rule("", "<Expiration><Days>soon</Days></Expiration>"), 400, "MalformedXML"),
        (_rule("", "<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>"), 400, "MalformedXML"),
        (_rule("", "<NoncurrentVersionExpiration/>"), 501, "NotImplemented"),
        ("<ID>r</ID><Status>Enabled</Status><Filter><Tag/></Filter>" + EXPIRE, 501, "NotImplemented"),
    ],
)
async def test_rules_that_r2_has_not_are_refused(ask: Lab, rule: str, status: int, code: str) -> None:
    answer = await _put_rules(ask, rule)
    assert (answer.status, answer.code) == (status, code)


async def test_objects_under_the_prefix_expire_when_their_days_are_over_and_no_others(ask: Lab) -> None:
    await _put_rules(ask, _rule("logs/", EXPIRE), _rule("off/", EXPIRE, id_="off", status="Disabled"))
    for key in ("logs/a", "off/a", "kept/a"):
        answer = await ask("PUT", f"/{BUCKET}/{key}", body=b"x")
        assert ("x-amz-expiration" in answer.headers) is key.startswith("logs/")
    assert 'rule-id="r"' in (await ask("HEAD", f"/{BUCKET}/logs/a")).headers["x-amz-expiration"]
    early = await ask.service.run_lifecycle(2.9)
    assert early.deleted == []
    late = await ask.service.run_lifecycle(3.1)
    assert late.deleted == ["logs/a"]
    statuses = [(await ask("GET", f"/{BUCKET}/{key}")).status for key in ("logs/a", "off/a", "kept/a")]
    assert statuses == [404, 200, 200]


async def test_more_objects_than_a_page_holds_expire(ask: Lab) -> None:
    await _put_rules(ask, _rule("", EXPIRE))
    for number in range(1005):
        await ask("PUT", f"/{BUCKET}/k{number}", body=b"")
    assert len((await ask.service.run_lifecycle(4)).deleted) == 1005


async def test_incomplete_uploads_are_aborted_after_a_week_and_with_a_rule_sooner(ask: Lab) -> None:
    for key in ("a/k", "b/k"):
        await ask("POST", f"/{BUCKET}/{key}", query="uploads=")
    assert (await ask.service.run_lifecycle(6.9)).aborted == []
    abort = (
        "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
    )
    await _put_rules(ask, _rule("a/", abort))
    assert (await ask.service.run_lifecycle(6.9)).aborted == ["a/k"]
    await ask("DELETE", f"/{BUCKET}", query="lifecycle=", token=ADMIN_TOKEN)
    assert (await ask.service.run_lifecycle(100)).aborted == []
    ask.front.configured.lifecycles.clear()
    assert (await ask.service.run_lifecycle(7.1)).aborted == ["b/k"]


async def test_an_object_goes_to_infrequent_access_and_keeps_its_date_and_etag(ask: Lab) -> None:
    await ask("PUT", headers={"x-amz-meta-a": "1"}, body=b"x")
    before = (await ask("HEAD")).headers
    await _put_rules(ask, _rule("", "<Transition><Days>30</Days><StorageClass>STANDARD_IA</StorageClass></Transition>"))
    assert (await ask.service.run_lifecycle(31)).infrequent == ["k"]
    assert (await ask("HEAD")).headers == before | {"x-amz-storage-class": "STANDARD_IA"}
    assert (await ask.service.run_lifecycle(31)).infrequent == []


async def test_a_lock_goes_before_a_lifecycle_rule(ask: Lab) -> None:
    await _put_rules(ask, _rule("", EXPIRE))
    await ask("PUT", body=b"x")
    condition = {"type": "Age", "maxAgeSeconds": 10 * 86_400}
    ask.front.configured.locks[BUCKET] = locks.from_json({"rules": [{"id": "l", "condition": condition}]})
    held = await ask.service.run_lifecycle(5)
    assert (held.deleted, held.locked) == ([], ["k"])
    assert (await ask.service.run_lifecycle(11)).deleted == ["k"]


def test_expiry_within_a_day_goes_before_a_transition() -> None:
    info = ObjectInfo("k", 1, "e", time.time(), Attributes())
    rules = lifecycle.from_json(
        {
            "Rules": [
                {"ID": "a", "Status": "Enabled", "Expiration": {"Days": 31}},
                {"ID": "b", "Status": "Enabled", "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}]},
            ]
        }
    )
    assert not lifecycle.turns_infrequent(rules, info, time.time() + 40 * DAY)


def test_a_date_is_a_moment_for_all_objects() -> None:
    rules = lifecycle.from_json({"Rules": [{"Status": "Enabled", "Expiration": {"Date": "2024-01-01T00:00:00Z"}}]})
    assert lifecycle.expiry(rules, ObjectInfo("k", 1, "e", time.time(), Attributes()))[0] == 1_704_067_200
    assert lifecycle.from_json(lifecycle.to_json(rules)) == rules


def test_two_rules_do_not_share_a_name() -> None:
    rule = {"ID": "a", "Status": "Enabled", "Expiration": {"Days": 1}}
    with pytest.raises(LifecycleError, match="same ID"):
        lifecycle.from_json({"Rules": [rule, rule]})
