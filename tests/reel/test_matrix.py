"""Every kind of video in the matrix is cut right: length, frames, shape, colours, sound; or refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.reel.cells import CELLS
from tests.reel.matrix import Cell, judge, make_source

from reel.tools import Tools


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all sources are made: the raw frames (26 MB) are written there once."""
    return tmp_path_factory.mktemp("matrix")


# A picture in 4K takes two minutes on a machine with a load of 30.
@pytest.mark.timeout(600)
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_a_clip_is_right(cell: Cell, tools: Tools, folder: Path) -> None:
    source = make_source(cell, folder, tools)
    found = judge(cell, source, tools)
    source.unlink()
    if cell.refused:
        assert found.startswith("refused: ")
        assert cell.refused in found
    else:
        assert found == "right"
