import shutil
from pathlib import Path

import pytest

from parity.stack.errors import RequirementMissing
from parity.stack.media_tools import search_path


def programs(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder


def test_tools_on_path_are_used_as_they_are(tmp_path: Path) -> None:
    own = programs(tmp_path / "own", "ffmpeg", "ffprobe")
    assert search_path({"PATH": str(own)}, tmp_path / "bin", None) == str(own)
    assert not (tmp_path / "bin").exists()


def test_packaged_tools_are_put_on_path_alone(tmp_path: Path) -> None:
    packaged = programs(tmp_path / "package", "ffmpeg", "ffprobe", "python3")
    private = tmp_path / "bin"
    path = search_path({"PATH": "/nowhere"}, private, packaged)
    assert shutil.which("ffmpeg", path=path) == str(private / "ffmpeg")
    assert (private / "ffprobe").resolve() == packaged / "ffprobe"
    assert shutil.which("python3", path=path) is None


def test_links_to_a_package_that_moved_are_renewed(tmp_path: Path) -> None:
    private = tmp_path / "bin"
    search_path({"PATH": "/nowhere"}, private, programs(tmp_path / "old", "ffmpeg", "ffprobe"))
    search_path({"PATH": "/nowhere"}, private, programs(tmp_path / "new", "ffmpeg", "ffprobe"))
    assert (private / "ffmpeg").resolve() == tmp_path / "new" / "ffmpeg"


def test_a_missing_tool_is_named_with_what_to_do(tmp_path: Path) -> None:
    own = programs(tmp_path / "own", "ffmpeg")
    with pytest.raises(RequirementMissing, match=r"(?s)^ffprobe: not on PATH.*make venv"):
        search_path({"PATH": str(own)}, tmp_path / "bin", None)
