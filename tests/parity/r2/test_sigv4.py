"""The verifier against botocore's signer, on requests that hypothesis makes up."""

from __future__ import annotations

import os
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.parity.r2 import lab
from tests.parity.r2.conftest import BUCKET, OBJECT_TOKEN
from tests.parity.r2.lab import Call

from parity.r2.errors import R2Error
from parity.r2.request import build
from parity.r2.rules import Rulebook
from parity.r2.sigv4 import REGIONS, Authenticated, Token, verify

# When all is signed and looked at: by the clock, a URL for one second has often expired when it is.
NOW = 1_790_000_000.0
TOKENS = {OBJECT_TOKEN.access_key: OBJECT_TOKEN}
EXAMPLES = 5000 if os.environ.get("RUN_SLOW") == "1" else 600

# Surrogates cannot be sent; anything else may be in a key.
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,15}", fullmatch=True)
QUERIES = st.dictionaries(NAMES, TEXT, max_size=4)
METADATA = st.dictionaries(NAMES.map("x-amz-meta-{}".format), VALUES, max_size=4)


@st.composite
def calls(draw: st.DrawFn) -> Call:
    query = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in draw(QUERIES).items())
    return Call(
        draw(st.sampled_from(["GET", "HEAD", "PUT", "DELETE"])),
        f"/{BUCKET}/{draw(KEYS)}",
        query,
        draw(METADATA),
        draw(st.binary(max_size=50)),
        draw(st.sampled_from(["header", "query"])),
        region=draw(st.sampled_from(sorted(REGIONS - {""}))),
        expires=draw(st.integers(1, 604_800)),
    )


def signed(call: Call) -> tuple[str, str, dict[str, str]]:
    """As it is on the wire, where a body has a length."""
    path, query, headers = lab.signed(call, at=NOW)
    return path, query, headers | {"content-length": str(len(call.body))}


def _verify(method: str, path: str, query: str, headers: dict[str, str], now: float = NOW) -> Authenticated:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    request = build(method, path, query, raw, ())
    return verify(request, TOKENS, Rulebook(), now)


def _code(method: str, path: str, query: str, headers: dict[str, str], now: float = NOW) -> str:
    with pytest.raises(R2Error) as refused:
        _verify(method, path, query, headers, now)
    return refused.value.code


@settings(max_examples=EXAMPLES, deadline=None)
@given(calls())
def test_what_botocore_signs_is_accepted(call: Call) -> None:
    path, query, headers = signed(call)
    assert _verify(call.method, path, query, headers).token == OBJECT_TOKEN


@settings(max_examples=EXAMPLES, deadline=None)
@given(calls(), st.data())
def test_anything_signed_that_is_altered_is_refused(call: Call, data: st.DataObject) -> None:
    path, query, headers = signed(call)
    what = data.draw(st.sampled_from(["method", "path", "query", "header", "host"]))
    method = call.method
    if what == "method":
        method = data.draw(st.sampled_from(sorted({"GET", "HEAD", "PUT", "DELETE"} - {method})))
    elif what == "path":
        path += data.draw(st.sampled_from(["/", "x", "%20", "%2F"]))
    elif what == "query":
        query += ("&" if query else "") + "response-content-type=evil"
    elif what == "header" and (names := [name for name in headers if name.startswith("x-amz-meta-")]):
        headers = headers | {data.draw(st.sampled_from(names)): "altered by someone"}
    else:
        headers = headers | {"host": "elsewhere.example"}
    assert _code(method, path, query, headers) == "SignatureDoesNotMatch"


@settings(max_examples=200, deadline=None)
@given(calls())
def test_another_secret_never_signs(call: Call) -> None:
    call.token = Token(OBJECT_TOKEN.access_key, "not the secret")
    assert _code(call.method, *signed(call)) == "SignatureDoesNotMatch"


@settings(max_examples=200, deadline=None)
@given(calls(), st.integers(-10_000_000, 10_000_000))
def test_a_signature_holds_for_its_time_and_no_longer(call: Call, shift: int) -> None:
    path, query, headers = signed(call)
    if call.sign == "query":
        expected = "ExpiredRequest" if shift > call.expires else ""
    else:
        expected = "RequestTimeTooSkewed" if abs(shift) > 900 else ""
    if expected:
        assert _code(call.method, path, query, headers, NOW + shift) == expected
    else:
        assert _verify(call.method, path, query, headers, NOW + shift).token == OBJECT_TOKEN


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80), st.dictionaries(st.sampled_from(["x-amz-date", "date", "x-amz-content-sha256"]), VALUES))
def test_whatever_stands_in_the_header_is_refused_with_an_answer_of_the_table(text: str, more: dict[str, str]) -> None:
    headers = {"host": "h", "authorization": text, **more}
    with pytest.raises(R2Error) as refused:
        _verify("GET", f"/{BUCKET}/k", "", {name: _sendable(value) for name, value in headers.items()})
    assert refused.value.status in (400, 401, 403)
    assert refused.value.rule


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def test_spaces_in_signed_values_and_repeated_headers_count_as_signers_count_them() -> None:
    call = Call(headers={"x-amz-meta-a": "  one   two  ", "x-amz-meta-b": "x,y"})
    path, query, headers = signed(call)
    raw = [(name.encode(), value.encode()) for name, value in headers.items() if name != "x-amz-meta-b"]
    raw += [(b"x-amz-meta-b", b"x"), (b"x-amz-meta-b", b"y")]
    request = build("GET", path, query, raw, ())
    assert verify(request, TOKENS, Rulebook(), NOW).token == OBJECT_TOKEN


def test_an_admin_token_is_told_from_an_object_token() -> None:
    admin = Token("admin", "s", admin=True)
    path, query, headers = signed(Call(token=admin))
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    found = verify(build("GET", path, query, raw, ()), TOKENS | {"admin": admin}, Rulebook(), NOW)
    assert found.token.admin
