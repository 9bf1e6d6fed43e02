"""Accounts: an e-mail address, a password, and a code that proves that the address is theirs."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import urllib.error
import urllib.request

from scout import bucket, tokens
from scout.settings import MAIL_URL, MISTAKE, STAGE

MAIL_S = 5


class Taken(Exception):
    """The address has an account."""


class Wrong(Exception):
    """Password or code do not fit; which of them, and whether there is an account, is not told."""


class NoMail(Exception):
    """The mail service took no message."""


def id_of(email: str) -> str:
    return hashlib.sha256(email.lower().encode()).hexdigest()[:20]


def home(account: str) -> str:
    return f"{STAGE}accounts/{account}/"


def _key(account: str) -> str:
    return f"{home(account)}account.json"


def register(email: str, password: str) -> None:
    """Who never confirmed may begin again: with a new code, and the password of this time."""
    account, code = id_of(email), f"{secrets.randbelow(10**6):06}"
    document = {"email": email, "password": tokens.hashed(password), "code": code, "confirmed": False}
    try:
        known, etag = bucket.get(_key(account))
        if known["confirmed"]:
            raise Taken
        bucket.put(_key(account), document, etag=etag)
    except bucket.Absent:
        bucket.put(_key(account), document, new=True)
    _send(email, f"Your code for Scout is {code}.")


def confirm(email: str, code: str) -> None:
    key = _key(id_of(email))
    try:
        document, etag = bucket.get(key)
    except bucket.Absent:
        raise Wrong from None
    if not hmac.compare_digest(document["code"].encode(), code.encode()):
        raise Wrong
    bucket.put(key, {**document, "confirmed": True}, etag=etag)


def sign_in(email: str, password: str) -> str:
    account = id_of(email)
    try:
        document, _ = bucket.get(_key(account))
    except bucket.Absent:
        raise Wrong from None
    if not tokens.fits(password, document["password"]) or not document["confirmed"]:
        raise Wrong
    return tokens.token_for(account)


def profile(account: str) -> tuple[dict[str, str], str]:
    """The public profile and its ETag; a new account has one that says nothing."""
    key = f"{home(account)}profile.json"
    try:
        return bucket.get(key)
    except bucket.Absent:
        empty = {"club": "", "motto": ""}
        return empty, bucket.put(key, empty, new=True)


def save_profile(account: str, document: dict[str, str], etag: str) -> str:
    return bucket.put(f"{home(account)}profile.json", document, etag="" if MISTAKE == "if_match_ignored" else etag)


# Why the last mail that failed did.
_FAILED: list[str] = []


def _send(to: str, text: str) -> None:
    request = urllib.request.Request(
        f"{MAIL_URL}/v3/messages",
        json.dumps({"to": to, "subject": "Welcome to Scout", "text": text}).encode(),
        {"Content-Type": "application/json"},
    )
    if MISTAKE == "mail_given_up" and _FAILED:
        raise NoMail(_FAILED[0])
    try:
        with urllib.request.urlopen(request, timeout=None if MISTAKE == "mail_without_timeout" else MAIL_S):
            pass
    except (urllib.error.URLError, OSError) as error:
        _FAILED[:] = [str(error)]
        raise NoMail(str(error)) from error
