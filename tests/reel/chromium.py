"""Lets Chromium draw the lines of `drawn`, for comparison: `python -m tests.reel.chromium FOLDER [NAME …]`.

FOLDER holds the fonts of the Fly image (`docker cp CONTAINER:/usr/share/fonts FOLDER`). The CJK font is found by
Fontconfig, which must see FOLDER too (FONTCONFIG_FILE).
"""

from __future__ import annotations

import base64
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image
from tests.reel.drawn import LEFT, LINES, ROW, SIZE, WIDTH

HERE: Final = Path(__file__).parent / "drawn_by_chromium"


def make(fonts: Path, names: list[str]) -> None:
    """Make the pictures anew."""
    languages = {"chinese": "zh-Hans", "japanese": "ja", "korean": "ko"}
    families = []
    for path in sorted(fonts.rglob("Noto*")):
        if path.suffix != ".ttc":
            data = base64.b64encode(path.read_bytes()).decode()
            families.append(f"@font-face{{font-family:'{path.stem}';src:url(data:font/ttf;base64,{data})}}")
    stems = [path.stem for path in sorted(fonts.rglob("Noto*")) if path.suffix == ".ttf"]
    last = [name for name in stems if "Symbols" in name or "Math" in name or "Emoji" in name]
    order = ["NotoSans-Regular", *(name for name in stems if name not in last), "Noto Sans CJK {}", *last]
    for name in names or LINES:
        line = LINES[name]
        language = languages.get(name.partition("-")[0], "en")
        wanted = ["NotoColorEmoji"] if name.startswith("emoji") else order
        if language != "en":  # punctuation that other fonts have too
            wanted = ["NotoSans-Regular", "Noto Sans CJK {}"]
        face = {"ja": "JP", "ko": "KR"}.get(language, "SC")
        stack = ",".join(f"'{family.format(face)}'" for family in wanted)
        page = (
            f"<meta charset=utf-8><style>{''.join(families)}body{{margin:0;background:#000;color:#fff;"
            f"font:{SIZE}px {stack};line-height:{ROW}px;padding-left:{LEFT}px;white-space:pre;"
            "text-spacing-trim:space-all}</style>"
            f"<div lang={language} dir=auto style='text-align:left'>{line}</div>"
        )
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "page.html").write_text(page)
            shot = Path(folder, "shot.png")
            command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
            command += [f"--window-size={WIDTH},{ROW}", "--virtual-time-budget=4000", f"--screenshot={shot}"]
            subprocess.run([*command, f"file://{folder}/page.html"], check=True, capture_output=True)
            Image.open(shot).convert("L").crop((0, 0, WIDTH, ROW)).quantize(16).save(
                HERE / f"{name}.png", optimize=True
            )


if __name__ == "__main__":
    make(Path(sys.argv[1]), sys.argv[2:])
