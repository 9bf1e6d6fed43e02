"""What the tools write about a file, as the person who sent it may see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reel.errors import FfmpegFailed, NotAVideo
from reel.probe import probe
from reel.run import presentable, run_ffmpeg
from reel.tools import Tools


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("file:/user_data/.work/inspect-a1/source: Invalid data found", "source: Invalid data found"),
        ("Error opening input file /tmp/x/piece-0.mov.", "Error opening input file piece-0.mov."),
        ("[mov,mp4,m4a @ 0x55d1c3a8f2c0] moov atom not found", "[mov,mp4,m4a] moov atom not found"),
        ("Error opening '/data/a/b.png': 1/2 frames at 30000/1001", "Error opening 'b.png': 1/2 frames at 30000/1001"),
        ("frame= 10 fps= 5 q=28.0", "frame= 10 fps= 5 q=28.0"),
    ],
)
def test_a_line_names_files_without_their_folders_and_no_memory_address(line: str, shown: str) -> None:
    assert presentable(line) == shown


async def test_the_reason_that_a_file_is_no_video_does_not_tell_where_it_lies(tmp_path: Path, tools: Tools) -> None:
    source = tmp_path / "inspect-a1" / "source"
    source.parent.mkdir()
    source.write_bytes(b"This is a text and no video.\n" * 400)
    with pytest.raises(NotAVideo) as caught:
        await probe(source, tools=tools)
    assert str(tmp_path) not in str(caught.value)
    assert "inspect-a1" not in str(caught.value)
    assert "source: " in str(caught.value)


async def test_what_ffmpeg_says_of_a_missing_file_does_not_tell_where_it_looked(tmp_path: Path, tools: Tools) -> None:
    command = [tools.ffmpeg, "-v", "error", "-i", f"file:{tmp_path}/gone.mp4", "-f", "null", "-"]
    with pytest.raises(FfmpegFailed) as caught:
        await run_ffmpeg(command, deadline_s=600)
    assert str(tmp_path) not in str(caught.value)
    assert "gone.mp4" in str(caught.value)
