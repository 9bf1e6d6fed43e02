"""No credential leaves a run, whatever it looks like."""

from __future__ import annotations

import json

import pytest

from parity.checks.secrecy import HIDDEN, cleaned, hidden_headers, without_credentials

TOKEN = "s3cr3tS3cr3tS3cr3t"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLWlzLWhlcmU"


@pytest.mark.parametrize(
    "text",
    [
        f'{{"token": "{TOKEN}", "user": "u"}}',
        f"{{'access_token': '{TOKEN}'}}",
        f'{{"refreshToken":"{TOKEN}"}}',
        f"Authorization: Bearer {TOKEN}",
        f"authorization: basic {TOKEN}==",
        f"GET https://r2/b/k?X-Amz-Credential=a&X-Amz-Signature={TOKEN}&x=1",
        f"GET /ws?token={TOKEN}",
        f"session={TOKEN}; Path=/",
        f"POST /login answered 500: password={TOKEN}",
        f"the cookie is {JWT}",
    ],
)
def test_what_looks_like_a_credential_is_replaced(text: str) -> None:
    cleaned = without_credentials(text)
    assert TOKEN not in cleaned
    assert JWT not in cleaned
    assert HIDDEN in cleaned


def test_values_of_the_apps_own_secrets_are_replaced_wherever_they_stand() -> None:
    assert without_credentials("key 0123456789abcdef used", ["0123456789abcdef", "true"]) == f"key {HIDDEN} used"
    assert without_credentials("it is true", ["true"]) == "it is true"


@pytest.mark.parametrize("text", ["w12ab34cd56 is not shown", "answered 503: R2 is away", "users/chk12/profiles/p_1/x"])
def test_reasons_stay_readable(text: str) -> None:
    assert without_credentials(text) == text


def test_headers_that_carry_credentials_are_hidden_and_others_joined() -> None:
    shown = hidden_headers([("Cookie", TOKEN), ("X-Api-Key", TOKEN), ("Vary", "Origin"), ("Vary", "Cookie")])
    assert shown == {"Cookie": HIDDEN, "X-Api-Key": HIDDEN, "Vary": "Origin, Cookie"}


def test_json_stays_json() -> None:
    content = [
        {"body": f'{{"token": "{TOKEN}"}}', "token": TOKEN, "n": 1, "machine": None, "headers": {"cookie": TOKEN}}
    ]
    shown = json.loads(json.dumps(cleaned(content)))
    assert TOKEN not in str(shown)
    assert (shown[0]["n"], shown[0]["token"]) == (1, HIDDEN)
