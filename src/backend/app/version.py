"""Which release this is."""

import subprocess
from functools import lru_cache
from pathlib import Path

from app.settings import Settings

VERSION = "0.1.0"


def commit(settings: Settings) -> str:
    """The commit baked into the image, else what git says of the checkout, else `unknown`."""
    return settings.git_commit or _commit_of_checkout()


@lru_cache(maxsize=1)
def _commit_of_checkout() -> str:
    # The image has neither git nor a checkout: not knowing is normal there.
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=2,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
