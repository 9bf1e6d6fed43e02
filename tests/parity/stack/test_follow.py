import threading
import time
from itertools import islice
from pathlib import Path

from parity.stack.follow import follow_containers, follow_lines


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
    assert list(islice(lines, 2)) == [("a", "half a line"), ("a", "new")]


def test_a_file_that_comes_later_is_followed_from_its_beginning(tmp_path: Path) -> None:
    part, machine = tmp_path / "fly.log", tmp_path / "machine-m1.log"
    part.touch()

    def start(_seconds: float) -> None:
        machine.write_text("listening\n")

    lines = follow_lines({"fly": part}, {}, start, lambda: {"m1": machine} if machine.exists() else {})
    assert next(lines) == ("m1", "listening")


def test_parts_and_the_containers_of_a_machine_come_in_one_stream_and_a_new_container_is_followed(
    tmp_path: Path,
) -> None:
    started = tmp_path / "started"
    script = f'echo "container $(cat {started} 2>/dev/null | wc -l)"; echo x >> {started}'
    lines = follow_containers(
        ["echo", "fly-1  | hello"], lambda machine, _since: ["sh", "-c", f"{script} # {machine}"], lambda: ["m1"]
    )
    # The Machine's container may be followed more than twice before the other command has printed its line.
    missing = {("fly", "hello"), ("m1", "container 0"), ("m1", "container 1")}
    while missing:
        missing.discard(next(lines))
    lines.close()


def test_what_docker_says_of_a_container_that_is_being_replaced_is_no_line(tmp_path: Path) -> None:
    gone = "Error response from daemon: No such container"
    lines = follow_containers(
        ["true"], lambda machine, _since: ["echo", gone if machine == "m1" else "a line"], lambda: ["m1", "m2"]
    )
    assert {next(lines) for _ in range(3)} == {("m2", "a line")}


def test_when_the_stream_is_closed_its_commands_end_and_no_further_one_is_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    lines = follow_containers(
        ["sh", "-c", f"echo $$ >> {pids}; echo 'fly-1  | hello'; exec sleep 600"],
        lambda machine, _since: ["sh", "-c", f"echo $$ >> {pids}; echo a line; exec sleep 600"],
        lambda: ["m1"],
    )
    assert {next(lines), next(lines)} == {("fly", "hello"), ("m1", "a line")}
    lines.close()
    started = [int(pid) for pid in pids.read_text().split()]
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in started) or _followers():
        assert time.monotonic() < deadline, "commands or threads are left"
        time.sleep(0.02)
    assert len(pids.read_text().split()) == 2


def _followers() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if "follow" in one.name]
