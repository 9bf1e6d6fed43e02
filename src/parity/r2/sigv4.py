"""Signature version 4, verified: headers and presigned URLs. Pure: the clock is an argument."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote

from parity.r2 import answers
from parity.r2.errors import R2Error
from parity.r2.request import Request
from parity.r2.rules import Rulebook

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
MAX_EXPIRES = 604_800
MAX_SKEW = 15 * 60
REGIONS = frozenset({"auto", "", "us-east-1", "wnam", "enam", "weur", "eeur", "apac", "oc"})
PRESIGNED_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})

_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", re.ASCII)
_SPACES = re.compile(" +")
_REQUIRED = ("X-Amz-Algorithm", "X-Amz-Signature", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Expires")


@dataclass(frozen=True, slots=True)
class Token:
    """An R2 API token: ``admin`` may configure buckets, others read and write objects."""

    access_key: str
    secret: str
    admin: bool = False


@dataclass(frozen=True, slots=True)
class Authenticated:
    """``payload`` is the signed value for the body: a hex SHA-256, ``UNSIGNED-PAYLOAD`` or ``STREAMING-…``."""

    token: Token
    payload: str
    presigned: bool

    @property
    def streams(self) -> bool:
        """Whether the body is aws-chunked."""
        return self.payload.startswith("STREAMING-")


@dataclass(frozen=True, slots=True)
class _Scope:
    access_key: str
    date: str
    region: str


def uri_encode(text: str) -> str:
    return quote(text, safe="-_.~")


@lru_cache(maxsize=256)
def signing_key(secret: str, date: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for step in (date, region, "s3", "aws4_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    return key


def canonical_query(request: Request, *, presigned: bool) -> str:
    pairs = sorted(
        (uri_encode(name), uri_encode(value))
        for name, value in request.query
        if not (presigned and name == "X-Amz-Signature")
    )
    return "&".join(f"{name}={value}" for name, value in pairs)


def canonical_request(request: Request, signed: list[str], payload: str, *, presigned: bool) -> str:
    headers = "".join(f"{name}:{_SPACES.sub(' ', request.sent.get(name, '').strip())}\n" for name in signed)
    query = canonical_query(request, presigned=presigned)
    return f"{request.method}\n{request.raw_path}\n{query}\n{headers}\n{';'.join(signed)}\n{payload}"


def string_to_sign(canonical: str, amz_date: str, scope: str) -> str:
    return f"{ALGORITHM}\n{amz_date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"


def verify(request: Request, tokens: Mapping[str, Token], rules: Rulebook, now: float) -> Authenticated:
    """Who signed the request. ``now`` is in seconds since the epoch. Raises ``R2Error`` in R2's order of checks."""
    authorization = request.header("authorization")
    if authorization is not None:
        if authorization.startswith("AWS "):
            rules.refuse_if_on(answers.SIGV2)
        return _verify_header(request, tokens, rules, now, authorization)
    if "X-Amz-Credential" in request.params:
        return _verify_presigned(request, tokens, rules, now)
    if "AWSAccessKeyId" in request.params and "Signature" in request.params:
        rules.refuse_if_on(answers.SIGV2)
    rules.refuse_if_on(answers.ANONYMOUS)
    return Authenticated(_anyone(tokens), UNSIGNED, presigned=False)


def _anyone(tokens: Mapping[str, Token]) -> Token:
    """The identity of a request that would have been refused, when the rule is off."""
    return next(iter(tokens.values()))


def _verify_header(
    request: Request, tokens: Mapping[str, Token], rules: Rulebook, now: float, authorization: str
) -> Authenticated:
    payload = request.header("x-amz-content-sha256")
    if payload is None:
        rules.refuse_if_on(answers.SHA256_MISSING)
        payload = UNSIGNED
    amz_date, source = request.header("x-amz-date"), "'x-amz-date' header"
    if amz_date is None:
        amz_date, source = request.header("date"), "'date' header"
    if amz_date is None:
        rules.refuse_if_on(answers.AUTH_FORM, problem="No date provided in x-amz-date nor date header")
        return Authenticated(_anyone(tokens), payload, presigned=False)
    signed_at = _parse_date(amz_date)
    if signed_at is None:
        rules.refuse_if_on(
            answers.AUTH_FORM, problem=f"Date provided in {source} ({amz_date}) didn't parse successfully"
        )
    elif abs(now - signed_at) > MAX_SKEW:
        rules.refuse_if_on(answers.SKEW)
    fields = _authorization_fields(authorization)
    if not {"Credential", "SignedHeaders", "Signature"} <= fields.keys():
        rules.refuse_if_on(answers.AUTH_ALGORITHM)
        return Authenticated(_anyone(tokens), payload, presigned=False)
    found = _check(
        request,
        tokens,
        rules,
        fields["Credential"],
        amz_date,
        fields["SignedHeaders"],
        fields["Signature"],
        payload,
        presigned=False,
    )
    # Of a body it is known when it has come.
    if len(payload) == len(EMPTY_SHA256) and not request.has_body and payload.lower() != EMPTY_SHA256:
        rules.refuse_if_on(answers.SHA256_MISMATCH)
    return found


def _authorization_fields(authorization: str) -> dict[str, str]:
    if not authorization.startswith(f"{ALGORITHM} "):
        return {}
    pairs = (item.partition("=") for item in authorization[len(ALGORITHM) :].split(","))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _verify_presigned(request: Request, tokens: Mapping[str, Token], rules: Rulebook, now: float) -> Authenticated:
    params = request.params
    if request.method not in PRESIGNED_METHODS:
        rules.refuse_if_on(answers.FORM_POST)
    missing = [name for name in _REQUIRED if name not in params]
    if missing:
        plural = "s" if len(missing) > 1 else ""
        rules.refuse_if_on(
            answers.AUTH_FORM, problem=f"Required search parameter{plural} {',  '.join(missing)} missing"
        )
        return Authenticated(_anyone(tokens), UNSIGNED, presigned=True)
    if params["X-Amz-Algorithm"] != ALGORITHM:
        rules.refuse_if_on(answers.AUTH_ALGORITHM)
    amz_date = params["X-Amz-Date"]
    signed_at = _parse_date(amz_date)
    if signed_at is None:
        problem = f"Date provided in X-Amz-Date ({amz_date}) didn't parse successfully"
        rules.refuse_if_on(answers.AUTH_FORM, problem=problem)
        signed_at = now
    elif signed_at - now > MAX_SKEW and rules.choices.future_dates == "refuse":
        rules.refuse_if_on(answers.SKEW)
    # Checked before the expiry, so that an unknown key is reported even for an expired URL.
    _scope(params["X-Amz-Credential"], amz_date, tokens, rules)
    expires = _parse_expires(params["X-Amz-Expires"])
    if expires is None:
        rules.refuse_if_on(answers.AUTH_FORM, problem="X-Amz-Expires should be a number")
        expires = MAX_EXPIRES
    if expires > MAX_EXPIRES:
        rules.refuse_if_on(answers.EXPIRES_TOO_LONG)
    if expires < 1 or now > signed_at + expires:
        rules.refuse_if_on(answers.EXPIRED)
    return _check(
        request,
        tokens,
        rules,
        params["X-Amz-Credential"],
        amz_date,
        params["X-Amz-SignedHeaders"],
        params["X-Amz-Signature"],
        # Also where the query names a hash, because the body is not known when a URL is signed.
        UNSIGNED,
        presigned=True,
    )


def _parse_date(text: str) -> float | None:
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = map(int, found.groups())
    try:
        # Parsed by hand because `strptime` takes five times as long.
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _parse_expires(text: str) -> float | None:
    """The expiry in seconds. R2 accepts any finite number, decimals included."""
    if not re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?\s*", text, re.IGNORECASE | re.ASCII):
        return None
    return float(text)


def _scope(credential: str, amz_date: str, tokens: Mapping[str, Token], rules: Rulebook) -> _Scope | None:
    """The credential's parts, checked in R2's order. ``None`` only with the rules that refuse it off."""
    parts = credential.split("/")
    if len(parts) < 5:
        problem = f"Credential sigv4 header should have at least 5 slash-separated parts, not {len(parts)}"
        rules.refuse_if_on(answers.AUTH_FORM, problem=problem)
        return None
    # Additional slashes belong to the access key.
    access_key, (date, region, service, terminator) = "/".join(parts[:-4]), parts[-4:]
    if service != "s3":
        rules.refuse_if_on(answers.AUTH_FORM, problem=f"Credential service should be s3, not {service}")
    if terminator != "aws4_request":
        problem = f"Credential termination string should be aws4_request, not {terminator}"
        rules.refuse_if_on(answers.AUTH_FORM, problem=problem)
    if not amz_date.startswith(date):
        problem = f"Credential signed date {date} does not match {amz_date[:8]} from 'x-amz-date' header"
        rules.refuse_if_on(answers.AUTH_FORM, problem=problem)
    if region not in REGIONS:
        rules.refuse_if_on(answers.REGION, region=region)
    if access_key not in tokens:
        rules.refuse_if_on(answers.UNKNOWN_KEY)
        return None
    return _Scope(access_key, date, region)


def _check(
    request: Request,
    tokens: Mapping[str, Token],
    rules: Rulebook,
    credential: str,
    amz_date: str,
    signed_headers: str,
    provided: str,
    payload: str,
    *,
    presigned: bool,
) -> Authenticated:
    scope = _scope(credential, amz_date, tokens, rules)
    if scope is None:
        return Authenticated(_anyone(tokens), payload, presigned)
    token = tokens[scope.access_key]
    signed = [name.lower() for name in signed_headers.split(";")]
    if "host" not in signed:
        rules.refuse_if_on(answers.AUTH_HOST)
    canonical = canonical_request(request, signed, payload, presigned=presigned)
    to_sign = string_to_sign(canonical, amz_date, f"{scope.date}/{scope.region}/s3/aws4_request")
    key = signing_key(token.secret, scope.date, scope.region)
    computed = hmac.new(key, to_sign.encode(), "sha256").hexdigest()
    if not hmac.compare_digest(computed.encode(), provided.encode()):
        _refuse_signature(rules, signed, to_sign, canonical, provided)
    return Authenticated(token, payload, presigned)


def _refuse_signature(rules: Rulebook, signed: list[str], to_sign: str, canonical: str, provided: str) -> None:
    """Raise SignatureDoesNotMatch. Like S3, R2 returns the string that it signed, which is the first thing to
    compare."""
    try:
        rules.refuse_if_on(answers.SIGNED_CONTENT_TYPE if "content-type" in signed else answers.SIGNATURE)
    except R2Error as error:
        error.extra.update(
            StringToSign=to_sign,
            StringToSignBytes=to_sign.encode().hex(" "),
            CanonicalRequest=canonical,
            CanonicalRequestBytes=canonical.encode().hex(" "),
            SignatureProvided=provided,
        )
        raise
