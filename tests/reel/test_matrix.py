"""Every kind of video in the matrix is cut right: length, frames, shape, colours, sound; or refused with a reason."""

from __future__ import annotations

import pytest
from tests.reel.cells import CELLS
from tests.reel.matrix import Cell, judge, make_source

from reel.tools import Tools


# A picture in 4K takes two minutes on a machine with a load of 30.
@pytest.mark.timeout(600)
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_a_clip_is_right(cell: Cell, tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("matrix")
    found = judge(cell, make_source(cell, folder, tools), tools)
    if cell.refused:
        assert found.startswith("refused: ")
        assert cell.refused in found
    else:
        assert found == "right"
