"""Lifecycle rules: when objects expire or change their class, and when incomplete uploads are aborted. Pure.

Source: cloudflare-docs r2/buckets/object-lifecycles, read 2026-11-27. R2 applies rules within about a day. The stand-in
applies them only on request: ``Service.run_lifecycle`` takes the number of days that have passed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

from parity.r2 import xml
from parity.r2.conditions import http_date
from parity.r2.errors import malformed_xml
from parity.r2.store.interface import ObjectInfo, UploadInfo

MAX_RULES = 1000
DAY = 86_400.0


class LifecycleError(ValueError):
    """A configuration that R2 refuses; ``missing`` where it is valid on S3 but R2 lacks the feature."""

    def __init__(self, message: str, *, missing: str = "") -> None:
        super().__init__(message)
        self.missing = missing


@dataclass(frozen=True, slots=True)
class When:
    """``days`` after the upload, or at ``date`` in seconds since the epoch."""

    days: int = 0
    date: float = 0.0

    def at(self, begun: float) -> float:
        return self.date or begun + self.days * DAY


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    id: str
    enabled: bool = True
    prefix: str = ""
    expires: When | None = None
    infrequent: When | None = None
    abort_days: int = 0

    def covers(self, key: str) -> bool:
        return self.enabled and key.startswith(self.prefix)


Lifecycle = tuple[LifecycleRule, ...]
# The rule that every new bucket has.
DEFAULT: Lifecycle = (LifecycleRule("Default Multipart Abort Rule", abort_days=7),)


def expiry(rules: Lifecycle, info: ObjectInfo) -> tuple[float, str]:
    """When the object expires, in seconds since the epoch, and by which rule; infinity where it does not."""
    found = [(rule.expires.at(info.modified), rule.id) for rule in rules if rule.expires and rule.covers(info.key)]
    return min(found, default=(math.inf, ""))


def expiration_header(rules: Lifecycle, info: ObjectInfo) -> list[tuple[str, str]]:
    """``x-amz-expiration`` of an object that a rule will delete."""
    at, id_ = expiry(rules, info)
    if math.isinf(at):
        return []
    return [("x-amz-expiration", f'expiry-date="{http_date(at)}", rule-id="{xml.escape(id_)}"')]


def turns_infrequent(rules: Lifecycle, info: ObjectInfo, now: float) -> bool:
    """Whether the object moves to Infrequent Access, which cannot be undone. Expiry within a day takes precedence."""
    if info.attributes.storage_class != "STANDARD":
        return False
    due = [rule.infrequent.at(info.modified) for rule in rules if rule.infrequent and rule.covers(info.key)]
    return bool(due) and min(due) <= now and expiry(rules, info)[0] > min(due) + DAY


def aborts(rules: Lifecycle, upload: UploadInfo, now: float) -> bool:
    days = [rule.abort_days for rule in rules if rule.abort_days and rule.covers(upload.key)]
    return bool(days) and upload.initiated + min(days) * DAY <= now


# ---- documents: S3's XML, and the same as JSON in the form of the AWS command line ----------------------------------

_FIELDS = ("ID", "Status", "Prefix", "Filter", "Expiration", "Transitions", "AbortIncompleteMultipartUpload")
_PLURAL = {"Transition": "Transitions"}


def from_xml(body: bytes) -> Lifecycle:
    """The rules of a PutBucketLifecycleConfiguration. Raises ``MalformedXML`` and ``LifecycleError``."""
    root = xml.parse(body, "LifecycleConfiguration")
    if any(child.tag != "Rule" for child in root):
        raise malformed_xml()
    return from_json({"Rules": [_as_json(rule) for rule in root]})


def _as_json(element: ElementTree.Element) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for child in element:
        value = _as_json(child) if len(child) or child.tag == "Filter" else (child.text or "").strip()
        if child.tag in _PLURAL:
            found.setdefault(_PLURAL[child.tag], []).append(value)
        else:
            found[child.tag] = value
    return found


def from_json(data: object) -> Lifecycle:
    """The rules of ``{"Rules": [...]}``. Raises ``LifecycleError``."""
    found = data.get("Rules") if isinstance(data, Mapping) else None
    if not isinstance(found, Sequence) or isinstance(found, str) or not 1 <= len(found) <= MAX_RULES:
        raise LifecycleError(f'expected {{"Rules": [1 to {MAX_RULES} rules]}}')
    rules = tuple(_rule(item, number) for number, item in enumerate(found, 1))
    if len({rule.id for rule in rules}) != len(rules):
        raise LifecycleError("two rules have the same ID")
    return rules


def _rule(item: object, number: int) -> LifecycleRule:
    where = f"rule {number}"
    if not isinstance(item, Mapping):
        raise LifecycleError(f"{where} is not an object")
    for name in item:
        if name not in _FIELDS:
            raise LifecycleError(f"{where}: R2 has no {name}", missing=str(name))
    if item.get("Status") not in ("Enabled", "Disabled"):
        raise LifecycleError(f"{where}: Status is Enabled or Disabled")
    filter_ = item.get("Filter") or {}
    if not isinstance(filter_, Mapping):
        raise LifecycleError(f"{where}: Filter holds a Prefix")
    for name in filter_:
        if name != "Prefix":
            raise LifecycleError(f"{where}: R2 filters by Prefix only, not by {name}", missing=f"Filter {name}")
    expiration, transitions = item.get("Expiration"), item.get("Transitions") or []
    abort = item.get("AbortIncompleteMultipartUpload")
    if expiration is None and not transitions and abort is None:
        raise LifecycleError(f"{where}: needs Expiration, Transition or AbortIncompleteMultipartUpload")
    return LifecycleRule(
        str(item.get("ID") or f"rule-{number}"),
        item["Status"] == "Enabled",
        str(filter_.get("Prefix") or item.get("Prefix") or ""),
        None if expiration is None else _when(expiration, f"{where}: Expiration"),
        _transition(transitions, where),
        0 if abort is None else _days(abort, "DaysAfterInitiation", f"{where}: AbortIncompleteMultipartUpload"),
    )


def _transition(found: Iterable[Any], where: str) -> When | None:
    listed = list(found)
    if len(listed) > 1:
        raise LifecycleError(f"{where}: one Transition, to STANDARD_IA")
    for item in listed:
        if not isinstance(item, Mapping) or item.get("StorageClass") != "STANDARD_IA":
            raise LifecycleError(f"{where}: R2's Transition goes to STANDARD_IA")
        return _when({name: item[name] for name in item if name != "StorageClass"}, f"{where}: Transition")
    return None


def _when(found: object, where: str) -> When:
    if isinstance(found, Mapping) and set(found) == {"Date"}:
        try:
            date = datetime.fromisoformat(str(found["Date"]))
        except ValueError:
            raise LifecycleError(f"{where}: Date is like 2027-01-01T00:00:00Z") from None
        return When(date=(date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
    return When(days=_days(found, "Days", where))


def _days(found: object, name: str, where: str) -> int:
    value = found.get(name) if isinstance(found, Mapping) and set(found) == {name} else None
    if not str(value).isdecimal() or not 1 <= int(str(value)[:10]) <= 100_000:
        raise LifecycleError(f"{where}: {name} is a whole number of days over 0")
    return int(str(value))


def to_json(rules: Lifecycle) -> dict[str, object]:
    """What ``from_json`` reads."""
    return {"Rules": [_to_json(rule) for rule in rules]}


def _to_json(rule: LifecycleRule) -> dict[str, Any]:
    found: dict[str, Any] = {"ID": rule.id, "Status": "Enabled" if rule.enabled else "Disabled"}
    found["Filter"] = {"Prefix": rule.prefix}
    if rule.expires:
        found["Expiration"] = _when_json(rule.expires)
    if rule.infrequent:
        found["Transitions"] = [{**_when_json(rule.infrequent), "StorageClass": "STANDARD_IA"}]
    if rule.abort_days:
        found["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": rule.abort_days}
    return found


def _when_json(when: When) -> dict[str, object]:
    if when.date:
        return {"Date": datetime.fromtimestamp(when.date, UTC).isoformat().replace("+00:00", "Z")}
    return {"Days": when.days}


def to_xml(rules: Lifecycle) -> bytes:
    return xml.document("LifecycleConfiguration", [_element("Rule", _to_json(rule)) for rule in rules])


def _element(name: str, value: object) -> str:
    if isinstance(value, Mapping):
        return xml.element(name, *(_element(child, value[child]) for child in value))
    if isinstance(value, list):
        return "".join(_element(name.removesuffix("s"), item) for item in value)
    return xml.text(name, value)
