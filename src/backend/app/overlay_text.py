"""Validates text that is drawn over a video. A character that the font lacks is refused instead of drawn as a box."""

from reel.fonts import undrawable

_SHOWN = 5


def drawable(text: str) -> str:
    """The text itself; raises ValueError naming the characters that the font lacks."""
    missing = undrawable(text)
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise ValueError(
            f"these characters cannot be drawn over a video: {', '.join(missing[:_SHOWN])}{more}; leave them out"
        )
    return text
