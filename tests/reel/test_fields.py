"""Pictures of two fields that are stored one behind the other are put together right, or refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from tests.reel import fields, matrix
from tests.reel.matrix import Cell

from reel.tools import Tools

X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "interlace=tff:log-level=none:pools=1:keyint=25")
CELL = Cell("paff", "", rate=Fraction(2 * fields.RATE), fields=True, first=1, length_s=3.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tools: Tools) -> Path:
    folder = tmp_path_factory.mktemp("fields")
    pictures = fields.pictures(folder, tools)
    (folder / "apart.h264").write_bytes(fields.stream(pictures))
    (folder / "apart.avi").write_bytes(fields.avi(pictures, fields=2))
    (folder / "together.avi").write_bytes(fields.avi(pictures))
    return folder


@pytest.mark.parametrize(
    ("source", "suffix"),
    [
        *(("apart.h264", suffix) for suffix in ("ts", "mkv", "flv")),
        *(("together.avi", s) for s in ("mp4", "mov", "ts")),
    ],
)
def test_h264_of_fields_is_cut_right(source: str, suffix: str, folder: Path, tools: Tools, tmp_path: Path) -> None:
    path = fields.mux(folder / source, tmp_path / f"paff.{suffix}", tools)
    assert matrix.judge(CELL, path, tools) == "right"


def test_an_avi_with_each_field_in_a_chunk_is_refused(folder: Path, tools: Tools, tmp_path: Path) -> None:
    found = {
        name: matrix.judge(CELL, fields.mux(folder / f"{name}.avi", tmp_path / f"{name}.avi", tools), tools)
        for name in ("apart", "together")
    }
    assert "an AVI holds each field apart" in found["apart"]
    assert found["together"] == "right"


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_hevc_of_fields_is_refused(suffix: str, tools: Tools, tmp_path: Path) -> None:
    path = matrix.make_source(Cell("fields", suffix, video=X265, filters="separatefields"), tmp_path, tools)
    assert "interlaced H.265" in matrix.judge(CELL, path, tools)
