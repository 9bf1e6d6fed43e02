import os
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from parity.stack import lifecycle
from parity.stack.errors import PartFailed, StackError
from parity.stack.plan import Part
from parity.stack.processes import ProcessId, descendants, is_alive, wait_gone
from parity.stack.state import exclusive, read_state, state_file
from parity.stack.supervisor import start, stop

SERVER = "import http.server as h, sys; h.test(h.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind='127.0.0.1')"
CRASH = "import sys; print('no bucket'); sys.exit(3)"
# A part with a child in a session of its own, as a Machine has, that does not end by itself.
PARENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
exec(sys.argv[2])
"""


def part(name: str, tmp_path: Path, code: str, port: int, *more: str) -> Part:
    argv = (sys.executable, "-c", code, str(port), *more)
    return Part(name, argv, {}, tmp_path, {"PARITY_A": port}, f"http://127.0.0.1:{port}/", f"look at {name}")


def quiet(_line: str) -> None:
    return


def test_a_healthy_stack_is_left_running_and_found_again(tmp_path: Path, free_port: int) -> None:
    start([part("a", tmp_path, SERVER, free_port)], tmp_path / "s", {"PARITY_A": "1"}, 60, quiet)
    found = read_state(tmp_path / "s")
    assert found is not None
    assert (found.ready, [p.name for p in found.alive], found.settings) == (True, ["a"], {"PARITY_A": "1"})
    assert stop(tmp_path / "s") == ("a",)
    assert read_state(tmp_path / "s") is None
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{free_port}/", trust_env=False, timeout=60)


def test_a_part_that_ends_takes_all_others_with_it_and_shows_its_last_lines(tmp_path: Path, free_port: int) -> None:
    seen: list[ProcessId] = []

    def note(_line: str) -> None:
        state = read_state(tmp_path / "s")
        seen.extend(p.process for p in state.parts if state) if state else None

    parts = [part("good", tmp_path, SERVER, free_port), part("bad", tmp_path, CRASH, 1)]
    with pytest.raises(PartFailed, match=r"(?s)bad ended with exit code 3.*no bucket.*look at bad"):
        start(parts, tmp_path / "s", {}, 60, note)
    assert not any(is_alive(process) for process in seen)
    assert not state_file(tmp_path / "s").exists()


def test_a_part_that_never_gets_healthy_is_stopped_and_named(tmp_path: Path, free_port: int) -> None:
    sleeper = part("slow", tmp_path, "import time; time.sleep(600)", free_port)
    # Servers of other tests may run below this process.
    before = set(descendants([ProcessId.of(os.getpid())]))
    with pytest.raises(PartFailed, match="slow was not healthy after 0 s"):
        start([sleeper], tmp_path / "s", {}, 0.3, quiet)
    assert set(descendants([ProcessId.of(os.getpid())])) <= before


def test_stopping_ends_what_a_part_had_started_in_other_sessions(tmp_path: Path, free_port: int) -> None:
    start([part("a", tmp_path, PARENT, free_port, SERVER)], tmp_path / "s", {}, 60, quiet)
    state = read_state(tmp_path / "s")
    assert state is not None
    children = descendants([state.parts[0].process])
    assert len(children) == 1
    stop(tmp_path / "s")
    assert wait_gone(children, 30) == []


def test_a_process_that_got_a_stopped_parts_number_is_not_taken_for_it() -> None:
    me = ProcessId.of(os.getpid())
    assert is_alive(me)
    assert not is_alive(ProcessId(me.pid, me.started + 1))


def test_a_state_that_cannot_be_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    state_file(tmp_path).write_text("{")
    with pytest.raises(StackError, match=r"(?s)process.json.*remove"):
        read_state(tmp_path)


def test_a_second_up_at_the_same_time_is_refused(tmp_path: Path) -> None:
    with exclusive(tmp_path), pytest.raises(StackError, match="another `parity up`"), exclusive(tmp_path):
        pass


APP = """
import http.server, json, sys
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        machines = [{"id": "m1", "healthy": False}, {"id": "m2", "healthy": True}]
        body = machines if self.path == "/fly/machines" else {"lines": ["KeyError: 'DATABASE_URL'"]}
        code = 503 if self.path == "/fly/healthz" else 200
        self.send_response(code); self.end_headers(); self.wfile.write(json.dumps(body).encode())
    def log_message(self, *a): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answers).serve_forever()
"""


def test_a_fly_that_does_not_get_healthy_shows_the_lines_of_the_app(tmp_path: Path, free_port: int) -> None:
    fly = replace(part("fly", tmp_path, APP, free_port), health_url=f"http://127.0.0.1:{free_port}/fly/healthz")
    with pytest.raises(PartFailed) as failed:
        start([fly], tmp_path, {}, 15.0, quiet)
    assert "last lines of Machine m1, the app:" in str(failed.value)
    assert "KeyError: 'DATABASE_URL'" in str(failed.value)
    assert "m2" not in str(failed.value)


def test_what_a_stack_held_is_forgotten_wherever_it_lies(tmp_path: Path) -> None:
    state, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    for folder in (state / "r2", state / "services/db", elsewhere, state / "logs"):
        folder.mkdir(parents=True)
    (state / "services/db/place").write_text(str(elsewhere))
    assert lifecycle.forget(state)
    assert not elsewhere.exists()
    assert sorted(path.name for path in state.iterdir()) == ["lock", "logs"]
    assert not lifecycle.forget(state)


def test_nothing_is_written_where_there_is_nothing_to_forget(tmp_path: Path) -> None:
    """In the harness image the checkout is mounted read-only."""
    state = tmp_path / "state"
    state.mkdir()
    assert not lifecycle.forget(state)
    assert list(state.iterdir()) == []
