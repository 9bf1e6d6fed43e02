"""Commands run the same by this process and by the script that listens on its streams."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from parity.stack.hands import Hands, LocalHands, PipedHands

ROOT = Path(__file__).parents[3]


def loop_of_the_script() -> str:
    """The loop of scripts/stack that serves the frames, as it is."""
    text = (ROOT / "scripts/stack").read_text()
    found = re.search(r"  while IFS= read -r -d '' kind.*?\n  done\n", text, re.DOTALL)
    assert found
    return found[0]


@pytest.fixture(params=["local", "piped"])
def hands(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hands]:
    if request.param == "local":
        yield LocalHands()
        return
    script = f"set -euo pipefail; from=0 to=1 errors={tmp_path}/errors; {loop_of_the_script()}"
    with subprocess.Popen(["bash", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as served:
        assert served.stdin
        assert served.stdout
        yield PipedHands(served.stdin, served.stdout)  # type: ignore[arg-type]  # a binary pipe
        served.stdin.close()


def test_output_code_and_errors_come_back_apart(hands: Hands) -> None:
    done = hands.output(["sh", "-c", "printf 'a b\\n\\nc'; echo oops >&2; exit 3"], {})
    assert (done.code, done.text, done.errors) == (3, "a b\n\nc", "oops\n")


def test_words_are_never_split_or_expanded(hands: Hands) -> None:
    words = ["two words", "", "$HOME", "a\nb", "ä*"]
    done = hands.output(["sh", "-c", 'for word; do printf "[%s]" "$word"; done', "sh", *words], {})
    assert done.text == "".join(f"[{word}]" for word in words)


def test_a_command_gets_the_variables_that_are_added(hands: Hands) -> None:
    assert hands.output(["sh", "-c", 'printf "%s" "$PLACE"'], {"PLACE": "a b"}).text == "a b"


def test_a_missing_command_is_127_and_one_without_an_end_is_124(hands: Hands) -> None:
    assert hands.output(["no-such-command-here"], {}).code == 127
    assert hands.output(["sleep", "60"], {}, 0.2).code == 124


def test_run_gives_the_exit_code(hands: Hands) -> None:
    assert hands.run(["sh", "-c", "exit 7"], {}) == 7
    assert hands.run(["true"], {}) == 0


def test_a_script_that_has_ended_is_an_error() -> None:
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as answers, Path(os.devnull).open("wb") as frames:
        os.close(theirs)
        with pytest.raises(EOFError):
            PipedHands(frames, answers).run(["true"], {})
