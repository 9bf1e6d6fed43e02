"""Simulated response times: none by default, or times like those measured on R2."""

from __future__ import annotations

import math
import random

PROFILES = ("off", "realistic")
# Median seconds by operation, and the spread (sigma of the logarithm) that puts the 99th percentile at four times it.
_MEDIANS = {
    "PutObject": 0.2,
    "CopyObject": 0.2,
    "UploadPart": 0.2,
    "UploadPartCopy": 0.2,
    "CreateMultipartUpload": 0.2,
    "CompleteMultipartUpload": 0.3,
    "GetObject": 0.06,
    "HeadObject": 0.05,
    "ListObjects": 0.12,
    "DeleteObject": 0.15,
    "DeleteObjects": 0.25,
}
_OTHER = 0.1
_SIGMA = 0.6


def delay(profile: str, operation: str, chance: random.Random) -> float:
    """Seconds to wait before the answer of ``operation``."""
    if profile == "off":
        return 0.0
    return _MEDIANS.get(operation, _OTHER) * math.exp(chance.gauss(0.0, _SIGMA))
