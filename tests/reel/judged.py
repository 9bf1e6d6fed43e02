"""Judges videos of the matrix that lie in a folder, by the ffmpeg of this place: `python -m tests.reel.judged FOLDER`.

One JSON object a line: {"name": …, "found": …}. It runs in the image too, which has neither pytest nor an ffmpeg that
could make the videos.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.reel.cells import CELLS
from tests.reel.matrix import judge

from reel.errors import ReelError
from reel.tools import find_tools


def main(folder: Path) -> None:
    tools = find_tools()
    for cell in CELLS:
        source = folder / f"{cell.name}.{cell.suffix}"
        if source.exists():
            try:
                found = judge(cell, source, tools)
            except (ReelError, OSError, ValueError, subprocess.SubprocessError) as error:
                found = f"wrong: {type(error).__name__}: {error}"
            sys.stdout.write(json.dumps({"name": cell.name, "found": found}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
