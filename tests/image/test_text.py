"""Text over a video, in the image: every script and emoji comes out as another tool draws it, with the same fonts."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest
from PIL import Image
from tests.image.conftest import Inside
from tests.reel import drawn
from tests.reel.chromium import HERE

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]  # the first build compiles ffmpeg

DRAW = """
import base64, io, json
found = {}
for name, line in LINES.items():
    file = io.BytesIO()
    ours(line).save(file, "PNG")
    found[name] = base64.b64encode(file.getvalue()).decode()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def pictures(inside: Inside) -> dict[str, Image.Image]:
    """Each line as the image draws it."""
    found = json.loads(inside("python", "-", script=Path(drawn.__file__).read_text() + DRAW))
    return {name: Image.open(io.BytesIO(base64.b64decode(data))) for name, data in found.items()}


@pytest.mark.parametrize("name", drawn.LINES)
def test_a_line_is_shaped_and_in_the_right_direction(name: str, pictures: dict[str, Image.Image]) -> None:
    with Image.open(HERE / f"{name}.png") as other:
        assert drawn.difference(pictures[name], other.convert("L")) < drawn.LIMIT


def test_a_mirrored_line_would_be_noticed(pictures: dict[str, Image.Image]) -> None:
    """What the comparison is worth: each line, mirrored, is another picture."""
    for name, picture in pictures.items():
        with Image.open(HERE / f"{name}.png") as other:
            turned = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            assert drawn.difference(turned, other.convert("L")) > drawn.LIMIT, name


def test_what_no_font_has_is_refused_by_name(inside: Inside) -> None:
    script = """
from reel.fonts import undrawable
print(undrawable("".join(map(chr, (0x645, 0x1F3C6, 0x1D800, 0xE000, 0x10FFFF, 0x7)))))
"""
    found = inside("python", "-", script=script)
    assert "SIGNWRITING HAND-FIST INDEX" in found
    assert found.count("U+") == 4


def test_format_characters_that_are_seen_need_a_font(inside: Inside) -> None:
    """Arabic signs over numbers are category Cf, as invisible characters are."""
    script = """
from reel.fonts import face_of, undrawable
print(face_of("\\u06dd").path.name, face_of("\\u0890"), undrawable("\\u0890")[0], undrawable("\\u845b\\U000e0100"))
"""
    found = inside("python", "-", script=script)
    assert found.startswith("NotoSansArabic-Regular.ttf None")
    assert found.endswith("(U+0890 ARABIC POUND MARK ABOVE) []\n")
