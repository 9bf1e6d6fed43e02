"""Checks of a backend as pytest tests over its contract (docs/checks.md)."""

from parity.checks.mark import check
from parity.checks.variants import Both, BucketCors, Change, Env, Fault, Files, Layer, Named, Proxy, R2Rules, Wrap
from parity.checks.verdict import not_judged

__all__ = [
    "Both", "BucketCors",
    "Change", "Env", "Fault", "Files", "Layer", "Named", "Proxy", "R2Rules", "Wrap", "check", "not_judged",
]  # fmt: skip
