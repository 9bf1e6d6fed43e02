from itertools import islice
from pathlib import Path

from parity.stack.follow import follow_lines


def test_whole_lines_are_shown_as_they_arrive_and_a_file_that_began_anew_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("old\n")
    writes = iter(["half", " a line\n", None])

    def write_more(_seconds: float) -> None:
        text = next(writes)
        if text is None:
            log.write_text("new\n")
        else:
            with log.open("a") as file:
                file.write(text)

    lines = follow_lines({"a": log}, {"a": log.stat().st_size}, write_more)
    assert list(islice(lines, 2)) == ["a        | half a line", "a        | new"]
