"""The form of times in rows, answers and names of files."""

import time
from datetime import UTC, datetime


def now() -> str:
    """This moment as ISO 8601 with milliseconds, in UTC."""
    return text(time.time())


def text(seconds: float) -> str:
    """A moment in unix seconds in the same form."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix_ms() -> int:
    """This moment in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
