"""Which release this is."""

import subprocess
from functools import lru_cache
from pathlib import Path

from app.settings import Settings

VERSION = "0.1.0"
UNKNOWN = "unknown"


def commit(settings: Settings) -> str:
    """The commit that the image's build was given, else the one that it read itself, else what git says here.

    `unknown` where there is none. `-unverified` at its end: the build could not see whether files differ from it.
    """
    given = "" if settings.git_commit == UNKNOWN else settings.git_commit
    return given or _commit_of_image() or _commit_of_checkout()


def _commit_of_image(file: Path = Path(__file__).parent / "REVISION") -> str:
    return file.read_text().strip() if file.exists() else ""


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
        return UNKNOWN
    return done.stdout.strip()
