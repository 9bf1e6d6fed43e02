"""The form of times in rows and answers."""

from datetime import UTC, datetime


def now() -> str:
    """This moment as ISO 8601 with milliseconds, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
