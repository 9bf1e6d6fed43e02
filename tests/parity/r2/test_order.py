"""What R2 looks at first: a request that it refuses changes nothing, whatever comes later."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.parity.r2.conftest import ADMIN_TOKEN, BUCKET, SETTINGS
from tests.parity.r2.lab import Call, Lab, lab, signed

WRONG = {"x-amz-content-sha256": "0" * 64}
BUCKET_PATH = f"/{BUCKET}"


@pytest.fixture
async def ask() -> AsyncIterator[Lab]:
    async with lab(SETTINGS) as found:
        await found("PUT", body=b"12345")
        yield found


@pytest.mark.parametrize(
    "call",
    [
        Call("GET", BUCKET_PATH, "list-type=2", WRONG),
        Call("GET", headers=WRONG),
        Call("HEAD", headers=WRONG),
        Call("DELETE", headers=WRONG),
        Call("PUT", headers=WRONG),
        Call("POST", query="uploads=", headers=WRONG),
        Call("DELETE", headers=WRONG, body=b"nobody reads this"),
        Call("POST", query="uploads=", headers=WRONG, body=b"nor this"),
        Call("POST", BUCKET_PATH, headers=WRONG, body=b"nor this"),
    ],
    ids=lambda call: f"{call.method} {call.path}?{call.query} {len(call.body)}",
)
async def test_a_hash_that_is_not_the_bodys_is_refused_whatever_the_operation(ask: Lab, call: Call) -> None:
    answer = await ask(**vars(call))
    expected = "" if call.method == "HEAD" else "XAmzContentSHA256Mismatch"
    assert (answer.status, answer.code) == (400, expected)
    assert (await ask()).body == b"12345"
    assert b"<Upload>" not in (await ask("GET", BUCKET_PATH, query="uploads=")).body


async def test_a_body_that_nobody_reads_is_accepted_with_its_hash(ask: Lab) -> None:
    assert (await ask("DELETE", body=b"nobody reads this")).status == 204
    assert (await ask()).status == 404


@pytest.mark.parametrize(
    ("method", "parameter"),
    [
        ("PUT", "encryption"),
        ("DELETE", "encryption"),
    ],
)
async def test_configuration_is_closed_to_a_token_for_objects_before_it_is_not_implemented(
    ask: Lab, method: str, parameter: str
) -> None:
    body = b"<x/>" if method == "PUT" else b""
    answer = await ask(method, BUCKET_PATH, query=f"{parameter}=", body=body)
    assert (answer.status, answer.code) == (403, "AccessDenied")
    answer = await ask(method, BUCKET_PATH, query=f"{parameter}=", body=body, token=ADMIN_TOKEN)
    assert (answer.status, answer.code) == (501, "NotImplemented")


async def test_a_length_that_only_streaming_has_is_no_content_length(ask: Lab) -> None:
    headers = {"transfer-encoding": "chunked", "x-amz-decoded-content-length": "3"}
    headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
    answer = await ask("PUT", headers=headers, body=b"abc", length=False)
    assert (answer.status, answer.code) == (411, "MissingContentLength")
    assert (await ask()).body == b"12345"


async def test_a_presigned_url_signs_no_body_even_where_it_names_a_hash(ask: Lab) -> None:
    path, query, headers = signed(Call("PUT", query="X-Amz-Content-Sha256=" + "0" * 64, sign="query"))
    answer = await ask.raw("PUT", path, query, headers | {"content-length": "3"}, b"abc")
    assert answer.status == 200
