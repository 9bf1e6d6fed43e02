"""Durations and memory sizes as flyctl reads them."""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MEBIBYTES = {"": 1, "mb": 1, "mib": 1, "gb": 1024, "gib": 1024}


def seconds(value: object, *, bare: float = 1.0) -> float:
    """``"1m30s"`` → 90.0; a bare number counts in units of ``bare`` seconds. Raises ``ValueError``."""
    if isinstance(value, bool):
        raise ValueError("expected a duration such as 10s or 1m30s")
    if isinstance(value, int | float):
        return value * bare
    text = str(value).strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text) * bare
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("expected a duration such as 10s or 1m30s")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def mebibytes(value: object) -> int:
    """``"1gb"`` → 1024, ``512`` → 512. Raises ``ValueError``."""
    found = re.fullmatch(r"(\d+)\s*([a-z]*)", str(value).strip().lower())
    if isinstance(value, bool) or not found or found[2] not in _MEBIBYTES:
        raise ValueError("expected a memory size such as 512 (MB), 512mb or 1gb")
    return int(found[1]) * _MEBIBYTES[found[2]]
