"""CORS belongs to the bucket, is answered exactly, and changes by PutBucketCors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.parity.r2.conftest import ADMIN_TOKEN, BUCKET, ORIGIN, SETTINGS
from tests.parity.r2.lab import HOST, Answer, Lab, lab

from parity.config.errors import ConfigError
from parity.r2.cors import (
    CorsRule,
    PolicyError,
    check_policy,
    find_rule,
    from_json,
    from_xml,
    load_policy,
    to_json,
    to_xml,
)

ROOT = Path(__file__).parents[3]


@pytest.fixture
async def ask() -> AsyncIterator[Lab]:
    async with lab(SETTINGS) as found:
        yield found


async def _preflight(ask: Lab, origin: str | None, method: str, headers: str = "", bucket: str = BUCKET) -> Answer:
    sent = {"host": HOST, "access-control-request-method": method}
    if origin:
        sent["origin"] = origin
    if headers:
        sent["access-control-request-headers"] = headers
    return await ask.raw("OPTIONS", f"/{bucket}/k", "", sent)


def _access_control(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


async def test_a_matching_preflight_is_answered_with_exactly_the_rule(ask: Lab) -> None:
    answer = await _preflight(ask, ORIGIN, "PUT", "Content-Type, range")
    assert (answer.status, answer.body) == (204, b"")
    assert _access_control(answer) == {
        "access-control-allow-origin": ORIGIN,
        "access-control-allow-methods": "GET, PUT, HEAD",
        "access-control-allow-headers": "Content-Type, range",
        "access-control-expose-headers": "ETag",
        "access-control-max-age": "3600",
    }
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    ("origin", "method", "headers"),
    [
        ("https://app.example.evil", "PUT", ""),
        ("http://app.example", "PUT", ""),
        ("https://APP.example", "PUT", ""),
        (ORIGIN + "/", "PUT", ""),
        (ORIGIN, "DELETE", ""),
        (ORIGIN, "put", ""),
        (ORIGIN, "PUT", "content-type, x-other"),
        (None, "PUT", ""),
        ("null", "GET", ""),
    ],
)
async def test_any_other_preflight_is_refused_without_cors_headers(
    ask: Lab, origin: str | None, method: str, headers: str
) -> None:
    answer = await _preflight(ask, origin, method, headers)
    assert (answer.status, answer.code, answer.message) == (403, "Unauthorized", "CORS not configured for this bucket")
    assert _access_control(answer) == {}


async def test_a_bucket_without_a_policy_refuses_every_preflight(ask: Lab) -> None:
    await ask("DELETE", f"/{BUCKET}", query="cors=", token=ADMIN_TOKEN)
    assert (await _preflight(ask, ORIGIN, "GET")).status == 403
    assert (await _preflight(ask, ORIGIN, "GET", bucket="no-such-bucket")).status == 403


async def test_responses_and_errors_carry_the_headers_of_the_bucket_and_an_expired_url_none(ask: Lab) -> None:
    await ask("PUT", body=b"x")
    for path, status in ((f"/{BUCKET}/k", 200), (f"/{BUCKET}/none", 404)):
        answer = await ask("GET", path, sign="query", headers={"origin": ORIGIN})
        assert answer.status == status
        assert _access_control(answer) == {
            "access-control-allow-origin": ORIGIN,
            "access-control-expose-headers": "ETag",
        }
    wrong = await ask("GET", headers={"origin": ORIGIN}, sign="")
    assert (wrong.status, wrong.headers["access-control-allow-origin"]) == (400, ORIGIN)
    expired = await ask("GET", sign="query", age=100, expires=10, headers={"origin": ORIGIN})
    assert (expired.code, _access_control(expired)) == ("ExpiredRequest", {})


async def test_without_origin_or_with_a_strange_one_there_are_no_cors_headers(ask: Lab) -> None:
    await ask("PUT", body=b"x")
    for headers in ({}, {"origin": "https://stranger.example"}):
        answer = await ask("GET", headers=headers)
        assert answer.status == 200
        assert _access_control(answer) == {}


async def test_rule_25_off_echoes_any_origin_as_moto_does(ask: Lab) -> None:
    ask.without(25)
    answer = await ask("GET", headers={"origin": "https://stranger.example"})
    assert answer.headers["access-control-allow-origin"] == "https://stranger.example"


async def test_put_bucket_cors_changes_the_next_answer(ask: Lab) -> None:
    body = to_xml((CorsRule(("https://*.example",), ("DELETE",), ("*",)),))
    assert (await ask("PUT", f"/{BUCKET}", query="cors=", body=body, token=ADMIN_TOKEN)).status == 200
    assert (await _preflight(ask, "https://a.b.example", "DELETE", "x-anything")).status == 204
    assert (await _preflight(ask, ORIGIN, "PUT")).status == 403
    told = await ask("GET", f"/{BUCKET}", query="cors=", token=ADMIN_TOKEN)
    assert from_xml(told.body) == (CorsRule(("https://*.example",), ("DELETE",), ("*",)),)


@pytest.mark.parametrize("age", ["9" * 5000, "99999999999", "\u0664", "-1", "1.5"])
async def test_an_age_that_is_no_number_of_seconds_is_malformed(ask: Lab, age: str) -> None:
    body = to_xml((CorsRule((ORIGIN,), ("GET",), max_age=5),)).replace(b">5<", f">{age}<".encode())
    answer = await ask("PUT", f"/{BUCKET}", query="cors=", body=body, token=ADMIN_TOKEN)
    assert (answer.status, answer.code) == (400, "MalformedXML")


async def test_a_star_origin_is_answered_with_a_star(ask: Lab) -> None:
    ask.front.configured.cors[BUCKET] = (CorsRule(("*",), ("GET",)),)
    answer = await _preflight(ask, "https://any.example", "GET")
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (CorsRule(("https://a.example/",), ("GET",)), "has a path"),
        (CorsRule(("https://a.example/x",), ("GET",)), "has a path"),
        (CorsRule(("a.example",), ("GET",)), "is not an origin"),
        (CorsRule(("https://*.*.example",), ("GET",)), "is not an origin"),
        (CorsRule(("https://a.example:port",), ("GET",)), "is not an origin"),
        (CorsRule((ORIGIN,), ("OPTIONS",)), "unsupported HTTP method in CORS config: OPTIONS"),
        (CorsRule((ORIGIN,), ("PATCH",)), "unsupported HTTP method in CORS config: PATCH"),
        (CorsRule((ORIGIN,), ("GET",), ("",)), "not the name of a header"),
        (CorsRule((ORIGIN,), ("GET",), (), ("a\x01b",)), "not the name of a header"),
        (CorsRule(("https://a.example\n",), ("GET",)), "is not an origin"),
        (CorsRule((ORIGIN,), ("GET",), max_age=2**31), "MaxAgeSeconds"),
        (CorsRule((ORIGIN,), ()), "are required"),
        (CorsRule((ORIGIN,), ("GET",), max_age=-1), "MaxAgeSeconds"),
    ],
)
def test_a_policy_that_r2_refuses_is_refused_with_the_reason(rule: CorsRule, problem: str) -> None:
    with pytest.raises(PolicyError, match=problem):
        check_policy((rule,))


def test_a_policy_survives_both_forms() -> None:
    policy = (CorsRule((ORIGIN,), ("GET",), ("*",), ("ETag",), 5, "one"), CorsRule(("*",), ("HEAD",)))
    assert from_xml(to_xml(policy)) == policy == from_json({"CORSRules": to_json(policy)})


def test_the_form_of_r2s_dashboard_is_read_too() -> None:
    rule = {"allowed": {"origins": [ORIGIN], "methods": ["GET"]}, "exposeHeaders": ["ETag"], "maxAgeSeconds": 5}
    assert from_json({"rules": [rule]}) == (CorsRule((ORIGIN,), ("GET",), (), ("ETag",), 5),)


def test_the_policy_of_this_repository_lets_its_frontends_upload_and_download() -> None:
    policy = load_policy(ROOT / "deploy" / "r2.cors.json")
    assert find_rule(policy, "https://reel-ballers-staging.pages.dev", "PUT", ("Content-Type",))
    assert find_rule(policy, "http://localhost:5173", "GET", ("Range",))
    assert find_rule(policy, "https://stranger.example", "GET") is None


WRONG_FILES = ["", "[", '{"CORSRules": 1}', '{"CORSRules": [{"AllowedOrigin": []}]}', json.dumps({"CORSRules": []})]


@pytest.mark.parametrize("text", WRONG_FILES)
def test_a_wrong_policy_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r2.cors.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"r2\.cors\.json"):
        load_policy(path)
