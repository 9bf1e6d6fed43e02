"""Bucket locks: which objects may be neither overwritten nor deleted yet, in the form of Cloudflare's API. Pure.

Source: cloudflare-docs r2/buckets/bucket-locks, 2026-04-30. A lock prevents PutObject, CopyObject onto the object,
CompleteMultipartUpload, DeleteObject, DeleteObjects and lifecycle rules; a key that does not exist may be written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from parity.r2 import answers
from parity.r2.rules import Rulebook
from parity.r2.store.interface import Check, ObjectInfo

MAX_RULES = 1000


class LockError(ValueError):
    """Lock rules that R2 would refuse; the message says which rule and why."""


@dataclass(frozen=True, slots=True)
class LockRule:
    """Objects under ``prefix`` are locked for ``age`` seconds from their upload, until ``date`` (seconds since the
    epoch), or for ever where both are infinite."""

    id: str
    prefix: str = ""
    enabled: bool = True
    age: float = 0.0
    date: float = 0.0

    def until(self, uploaded: float) -> float:
        """When the lock of an object ends, in seconds since the epoch."""
        return max(uploaded + self.age if self.age else 0.0, self.date)


Locks = tuple[LockRule, ...]


def locked_until(locks: Locks, info: ObjectInfo) -> float:
    """When ``info`` may be overwritten or deleted: the longest lock counts; 0 without one."""
    covering = (rule for rule in locks if rule.enabled and info.key.startswith(rule.prefix))
    return max((rule.until(info.modified) for rule in covering), default=0.0)


def guarded(check: Check, locks: Locks, now: float, rules: Rulebook) -> Check:
    """``check`` preceded by a check that the object is not locked. Raises rule 48."""
    if not locks:
        return check

    def both(found: ObjectInfo | None) -> None:
        if found is not None and locked_until(locks, found) > now:
            rules.refuse_if_on(answers.LOCKED)
        check(found)

    return both


def from_json(data: object) -> Locks:
    """The rules of ``{"rules": [{"id", "enabled", "prefix", "condition"}]}``. Raises ``LockError``."""
    found = data.get("rules", []) if isinstance(data, Mapping) else data
    if not isinstance(found, Sequence) or isinstance(found, str) or len(found) > MAX_RULES:
        raise LockError(f'expected {{"rules": [at most {MAX_RULES} rules]}}')
    return tuple(_rule(item, number) for number, item in enumerate(found, 1))


def _rule(item: object, number: int) -> LockRule:
    if not isinstance(item, Mapping) or set(item) - {"id", "enabled", "prefix", "condition"}:
        raise LockError(f"rule {number}: expected id, enabled, prefix and condition, not {item!r}")
    id_, prefix, enabled = item.get("id", ""), item.get("prefix", ""), item.get("enabled", True)
    if not isinstance(id_, str) or not isinstance(prefix, str) or not isinstance(enabled, bool):
        raise LockError(f"rule {number}: id and prefix are texts, enabled is true or false")
    condition = item.get("condition")
    kind = condition.get("type") if isinstance(condition, Mapping) else None
    if not isinstance(condition, Mapping) or kind not in ("Age", "Date", "Indefinite"):
        raise LockError(f"rule {number}: condition has a type Age, Date or Indefinite, not {condition!r}")
    if kind == "Indefinite":
        return LockRule(id_, prefix, enabled, date=math.inf)
    if kind == "Date":
        return LockRule(id_, prefix, enabled, date=_date(condition.get("date"), number))
    age = condition.get("maxAgeSeconds")
    if isinstance(age, bool) or not isinstance(age, int) or age <= 0:
        raise LockError(f"rule {number}: maxAgeSeconds is a whole number of seconds over 0, not {age!r}")
    return LockRule(id_, prefix, enabled, age=age)


def _date(text: object, number: int) -> float:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        raise LockError(f"rule {number}: date is like 2027-01-01T00:00:00Z, not {text!r}") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def to_json(locks: Locks) -> dict[str, object]:
    """What ``from_json`` reads."""
    return {"rules": [_to_json(rule) for rule in locks]}


def _to_json(rule: LockRule) -> dict[str, object]:
    condition: dict[str, object] = {"type": "Age", "maxAgeSeconds": int(rule.age)}
    if math.isinf(rule.date):
        condition = {"type": "Indefinite"}
    elif rule.date:
        condition = {"type": "Date", "date": datetime.fromtimestamp(rule.date, UTC).isoformat()}
    return {"id": rule.id, "enabled": rule.enabled, "prefix": rule.prefix, "condition": condition}
