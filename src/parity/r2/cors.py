"""The bucket's CORS policy: read, checked, and answered exactly. Pure.

The policy file has the form of ``aws s3api put-bucket-cors --cors-configuration``; R2's own form (dashboard, wrangler)
is read too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

from parity.config.errors import ConfigError
from parity.r2 import xml
from parity.r2.errors import malformed_xml

METHODS = frozenset({"GET", "PUT", "POST", "DELETE", "HEAD"})
MAX_RULES = 100
# The largest 32-bit integer, and a number of digits that no such integer has.
MAX_AGE, AGE_DIGITS = 2**31 - 1, 10


class PolicyError(ValueError):
    """A policy that R2 refuses; the message says what is wrong and in which rule.

    ``malformed``: R2 says only ``MalformedXML``.
    """

    def __init__(self, message: str, *, malformed: bool = False) -> None:
        super().__init__(message)
        self.malformed = malformed


@dataclass(frozen=True, slots=True)
class CorsRule:
    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    max_age: int | None = None
    id: str = ""


Policy = tuple[CorsRule, ...]


def check_policy(policy: Policy) -> None:
    """Raise ``PolicyError`` for what R2 does not accept."""
    if not policy or len(policy) > MAX_RULES:
        raise PolicyError(f"a policy has 1 to {MAX_RULES} rules, not {len(policy)}")
    for number, rule in enumerate(policy, 1):
        if not rule.origins or not rule.methods:
            raise PolicyError(f"rule {number}: AllowedOrigins and AllowedMethods are required")
        for origin in rule.origins:
            _check_origin(origin, number)
        for method in rule.methods:
            if method not in METHODS:
                raise PolicyError(f"rule {number}: found unsupported HTTP method in CORS config: {method}")
        for name in (*rule.headers, *rule.expose):
            if not name.strip() or name.count("*") > 1 or not name.isprintable():
                raise PolicyError(f"rule {number}: {name!r} is not the name of a header")
        if rule.max_age is not None and not 0 <= rule.max_age <= MAX_AGE:
            raise PolicyError(f"rule {number}: MaxAgeSeconds is {rule.max_age}")


def _check_origin(origin: str, number: int) -> None:
    if origin == "*":
        return
    try:
        parts = urlsplit(origin)
        if parts.netloc.endswith(":*"):
            problem = f"rule {number}: {origin!r} has a wildcard for its port; R2 wants each port by itself"
            raise PolicyError(problem, malformed=True)
        _ = parts.port
    except PolicyError:
        raise
    except ValueError:
        raise PolicyError(f"rule {number}: {origin!r} is not an origin") from None
    # A URL with control characters is refused here, because `urlsplit` silently removes them.
    if not parts.scheme or not parts.netloc or origin.count("*") > 1 or not origin.isprintable():
        raise PolicyError(f"rule {number}: {origin!r} is not an origin (scheme://host[:port])")
    if parts.path or parts.query or parts.fragment:
        raise PolicyError(f"rule {number}: {origin!r} has a path; an origin is scheme://host[:port]")


_ELEMENTS = ("AllowedOrigin", "AllowedMethod", "AllowedHeader", "ExposeHeader", "MaxAgeSeconds", "ID")


def from_xml(body: bytes) -> Policy:
    """The policy of a PutBucketCors body. Raises ``MalformedXML`` or ``PolicyError``."""
    root = xml.parse(body, "CORSConfiguration")
    for element, known in [(root, ("CORSRule",)), *((rule, _ELEMENTS) for rule in root.findall("CORSRule"))]:
        for child in element:
            if child.tag not in known:
                raise PolicyError(f"unknown element {child.tag}", malformed=True)
    policy = tuple(_rule_from_xml(found) for found in root.findall("CORSRule"))
    check_policy(policy)
    return policy


def _rule_from_xml(found: ElementTree.Element) -> CorsRule:
    def texts(name: str) -> tuple[str, ...]:
        return tuple((child.text or "").strip() for child in found.findall(name))

    age = xml.child(found, "MaxAgeSeconds")
    if age is not None and not (age.isascii() and age.isdecimal() and len(age) <= AGE_DIGITS):
        raise malformed_xml()
    return CorsRule(
        texts("AllowedOrigin"),
        texts("AllowedMethod"),
        texts("AllowedHeader"),
        texts("ExposeHeader"),
        int(age) if age else None,
        xml.child(found, "ID") or "",
    )


def to_xml(policy: Policy) -> bytes:
    def rule(found: CorsRule) -> str:
        parts = [xml.text("ID", found.id)] if found.id else []
        parts += [xml.text("AllowedOrigin", origin) for origin in found.origins]
        parts += [xml.text("AllowedMethod", method) for method in found.methods]
        parts += [xml.text("AllowedHeader", name) for name in found.headers]
        parts += [xml.text("ExposeHeader", name) for name in found.expose]
        if found.max_age is not None:
            parts.append(xml.text("MaxAgeSeconds", found.max_age))
        return xml.element("CORSRule", *parts)

    return xml.document("CORSConfiguration", map(rule, policy))


def to_json(policy: Policy) -> list[dict[str, object]]:
    """The form of the AWS command line; ``from_json`` reads it."""
    return [
        {
            **({"ID": rule.id} if rule.id else {}),
            "AllowedOrigins": list(rule.origins),
            "AllowedMethods": list(rule.methods),
            "AllowedHeaders": list(rule.headers),
            "ExposeHeaders": list(rule.expose),
            **({"MaxAgeSeconds": rule.max_age} if rule.max_age is not None else {}),
        }
        for rule in policy
    ]


def from_json(data: object) -> Policy:
    """A policy in the form of the AWS command line or of R2's dashboard. Raises ``PolicyError``."""
    if isinstance(data, dict):
        data = data.get("CORSRules", data.get("rules"))
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise PolicyError('expected {"CORSRules": [{"AllowedOrigins": …, "AllowedMethods": …}]}')
    policy = tuple(_rule_from_json(item, number) for number, item in enumerate(data, 1))
    check_policy(policy)
    return policy


_AWS = ("AllowedOrigins", "AllowedMethods", "AllowedHeaders", "ExposeHeaders", "MaxAgeSeconds", "ID")
_CLOUDFLARE = ("origins", "methods", "headers")


def _rule_from_json(item: Mapping[str, object], number: int) -> CorsRule:
    if isinstance(allowed := item.get("allowed"), dict):
        values = [*(allowed.get(name) for name in _CLOUDFLARE), item.get("exposeHeaders"), item.get("maxAgeSeconds")]
        values.append(item.get("id"))
        unknown = (set(allowed) - set(_CLOUDFLARE)) | (set(item) - {"allowed", "exposeHeaders", "maxAgeSeconds", "id"})
    else:
        values = [item.get(name) for name in _AWS]
        unknown = set(item) - set(_AWS)
    if unknown:
        raise PolicyError(f"rule {number}: unknown field {sorted(unknown)[0]!r}")
    lists: list[tuple[str, ...]] = []
    for value in values[:4]:
        if value is None:
            value = []
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise PolicyError(f"rule {number}: expected a list of strings, got {value!r}")
        lists.append(tuple(value))
    age, id_ = values[4], values[5]
    if age is not None and (not isinstance(age, int) or isinstance(age, bool)):
        raise PolicyError(f"rule {number}: MaxAgeSeconds is {age!r}")
    return CorsRule(lists[0], lists[1], lists[2], lists[3], age, str(id_ or ""))


def load_policy(path: Path) -> Policy:
    """The policy file. Raises ``ConfigError`` naming the file and what is wrong."""
    try:
        return from_json(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        raise ConfigError(str(path), "there is no such file", "the bucket's CORS policy") from None
    except ValueError as error:
        raise ConfigError(str(path), str(error), "what `aws s3api put-bucket-cors` takes") from None


def with_page_of_stack(policy: Policy, origin: str) -> Policy:
    """``policy`` with ``origin``, the page of this stack on this machine, in each rule that allows some local origin.

    The port of the page can be moved, and a real bucket's policy cannot know that.
    """
    return tuple(
        replace(rule, origins=(*rule.origins, origin))
        if origin not in rule.origins and any(known.startswith("http://localhost:") for known in rule.origins)
        else rule
        for rule in policy
    )


def _matches(pattern: str, value: str) -> bool:
    if "*" not in pattern:
        return pattern == value
    before, _, after = pattern.partition("*")
    return len(value) >= len(before) + len(after) and value.startswith(before) and value.endswith(after)


def find_rule(policy: Policy, origin: str, method: str, headers: tuple[str, ...] = ()) -> CorsRule | None:
    """The first rule that allows ``method`` and all of ``headers`` (any case) for exactly ``origin``."""
    for rule in policy:
        if not any(_matches(pattern, origin) for pattern in rule.origins) or method not in rule.methods:
            continue
        patterns = [pattern.lower() for pattern in rule.headers]
        if all(any(_matches(pattern, name.lower()) for pattern in patterns) for name in headers):
            return rule
    return None


def response_headers(policy: Policy, origin: str | None, method: str) -> list[tuple[str, str]]:
    """The Access-Control headers of a plain response; none without ``Origin`` or without a rule for it."""
    rule = find_rule(policy, origin, method) if origin else None
    if rule is None or origin is None:
        return []
    headers = _origin_headers(rule, origin)
    if rule.expose:
        headers.append(("Access-Control-Expose-Headers", ", ".join(rule.expose)))
    return headers


def preflight_headers(policy: Policy, origin: str | None, method: str, requested: str) -> list[tuple[str, str]] | None:
    """The headers of a preflight's 204, or ``None`` where no rule matches. ``requested`` is the raw header."""
    names = tuple(name.strip() for name in requested.split(",") if name.strip())
    rule = find_rule(policy, origin, method, names) if origin else None
    if rule is None or origin is None:
        return None
    headers = _origin_headers(rule, origin)
    headers.append(("Access-Control-Allow-Methods", ", ".join(rule.methods)))
    if names:
        headers.append(("Access-Control-Allow-Headers", ", ".join(names)))
    if rule.expose:
        headers.append(("Access-Control-Expose-Headers", ", ".join(rule.expose)))
    if rule.max_age is not None:
        headers.append(("Access-Control-Max-Age", str(rule.max_age)))
    return headers


def _origin_headers(rule: CorsRule, origin: str) -> list[tuple[str, str]]:
    if "*" in rule.origins:
        return [("Access-Control-Allow-Origin", "*")]
    return [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]
