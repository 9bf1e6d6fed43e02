"""Machines as processes: their root folder, their environment, their signals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from tests.parity.fly.support import SOURCE, Edge, until

from parity.fly.machines.driver import DriverError, Exit, Image, MachineSpec
from parity.fly.machines.process import ProcessDriver, command_words
from parity.fly.machines.state import State

SHELL = ["/bin/sh", "-c", "{port} 2>/dev/null; echo up; sleep 100 & wait; sleep 100"]


def spec(environment: dict[str, str] | None = None) -> MachineSpec:
    return MachineSpec("m1", 1, Image(""), None, environment or {}, 8080, 1, 256)


def driver(tmp_path: Path, command: list[str] | None = None) -> ProcessDriver:
    return ProcessDriver(SOURCE.parent, SOURCE.name, command or SHELL, tmp_path / "state")


def process_state(pid: int) -> str:
    """The kernel's letter for it; Z when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def alive(pid: int) -> bool:
    return process_state(pid) != "Z"


def test_names_are_filled_into_a_command_and_other_braces_stay() -> None:
    assert command_words(["{python}", "a{port}", "{}"], {"python": "py", "port": "1"}) == ["py", "a1", "{}"]


async def test_what_the_app_writes_beside_its_source_is_inside_the_root_and_gone_after_a_start(edge: Edge) -> None:
    first = await edge.get("/write")
    assert first["existed"] is False
    assert Path(first["root"]).parent == edge.state_dir / "machines" / edge.machine.id
    assert (await edge.get("/write"))["existed"] is True
    await edge.machine.stop()
    assert (await edge.get("/write"))["existed"] is False


async def test_a_machine_sees_nothing_of_the_harnesss_environment(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the developer")
    await edge.machine.stop()
    environment = (await edge.get("/show"))["env"]
    assert "AWS_SECRET_ACCESS_KEY" not in environment
    assert environment["FLY_APP_NAME"] == "tiny"
    assert environment["FLY_REGION"] == environment["PRIMARY_REGION"] == "lax"


async def test_a_suspended_process_does_not_run_and_goes_on_after_resume(edge: Edge) -> None:
    pid = (await edge.get("/show"))["pid"]
    await edge.machine.suspend()
    await until(lambda: process_state(pid) == "T", "frozen")
    await edge.machine.start()
    assert (await edge.get("/show"))["pid"] == pid
    assert edge.machine.state is State.STARTED


async def test_a_machines_children_end_with_it(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "sleep 100 & echo $! > child; exit 0", "{port}"]
    machines = driver(tmp_path, command)
    await machines.open()
    await machines.start(spec())
    assert await machines.wait("m1") == Exit(0)
    child = int((tmp_path / "state/machines/m1/source/child").read_text())
    await until(lambda: not alive(child), "the child ended")
    await machines.close()


async def test_a_signalled_exit_is_told_as_a_shell_would(tmp_path: Path) -> None:
    machines = driver(tmp_path, [sys.executable, "-c", "import signal; signal.pause()", "{port}"])
    await machines.open()
    await machines.start(spec())
    await machines.signal("m1", "SIGTERM")
    assert await machines.wait("m1") == Exit(143)
    await machines.close()


async def test_logs_outlive_a_restart(tmp_path: Path) -> None:
    machines = driver(tmp_path, [sys.executable, "-c", "print('hello')", "{port}"])
    await machines.open()
    for _ in range(2):
        await machines.start(spec())
        await machines.wait("m1")
    assert await machines.logs("m1", 10) == ["hello", "hello"]
    assert await machines.logs("m1", 1) == ["hello"]
    await machines.close()


async def test_opening_ends_what_an_earlier_run_left(tmp_path: Path) -> None:
    first = driver(tmp_path)
    await first.open()
    await first.start(spec())
    pid = int((tmp_path / "state/machines/m1/pid").read_text().split()[0])
    second = driver(tmp_path)
    await second.open()
    await until(lambda: not alive(pid), "it ended")
    assert list((tmp_path / "state/machines").iterdir()) == []
    await first.close()


async def test_a_pid_that_now_belongs_to_another_process_is_left_alone(tmp_path: Path) -> None:
    other = await asyncio.create_subprocess_exec("sleep", "100", start_new_session=True)
    folder = tmp_path / "state/machines/m1"
    folder.mkdir(parents=True)
    (folder / "pid").write_text(f"{other.pid} 12345")
    await driver(tmp_path).open()
    assert alive(other.pid)
    other.kill()
    await other.wait()


async def test_a_machine_dies_with_the_stand_in(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux can end a process with its parent")
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from parity.fly.machines.process import ProcessDriver\n"
        "from parity.fly.machines.driver import MachineSpec\n"
        "async def main():\n"
        f"    d = ProcessDriver(Path({str(SOURCE.parent)!r}), 'source', {SHELL!r}, Path({str(tmp_path)!r}))\n"
        "    await d.open(); await d.start(MachineSpec('m1', 1, None, None, {}, 1, 1, 1))\n"
        "    print('up', flush=True); await asyncio.sleep(100)\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4] / "src")}
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert parent.stdout is not None
    await parent.stdout.readline()
    pid = int((tmp_path / "machines/m1/pid").read_text().split()[0])
    assert alive(pid)
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    await until(lambda: not alive(pid), "it died too")
    with suppress(ProcessLookupError):
        # What the Machine had started is not covered: the next run's open() ends it, if it has not ended by itself.
        os.killpg(pid, signal.SIGKILL)


async def test_an_image_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="cannot run an image"):
        await driver(tmp_path).resolve("app:tag", None)


async def test_a_source_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="is not a folder"):
        await driver(tmp_path).resolve(None, tmp_path / "nothing")


@pytest.mark.parametrize("directory", [".", "../elsewhere"])
async def test_a_source_may_be_the_whole_checkout_or_lie_outside(tmp_path: Path, directory: str) -> None:
    checkout = tmp_path / "checkout"
    source = checkout / directory
    for folder in (checkout / "home", checkout / ".venv", source):
        folder.mkdir(parents=True, exist_ok=True)
    (source / "app.txt").write_text("the app")
    command = ["/bin/sh", "-c", "cat app.txt > seen; ls -a >> seen; : {port}; sleep 100"]
    machines = ProcessDriver(checkout, directory, command, checkout / ".parity")
    await machines.open()
    await machines.start(spec())
    try:
        seen = checkout / ".parity/machines/m1/source/seen"
        await until(lambda: seen.exists() and "app.txt" in seen.read_text(), "the command saw its source")
        assert not {".parity", ".venv"} & set(seen.read_text().split())
    finally:
        await machines.close()


async def test_the_interpreter_and_the_checkout_are_filled_in(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "echo {python} {root} > seen; : {port}; sleep 100"]
    machines = ProcessDriver(SOURCE.parent, SOURCE.name, command, tmp_path / "state", python="/opt/own/python")
    await machines.open()
    await machines.start(spec())
    try:
        seen = tmp_path / "state/machines/m1" / SOURCE.name / "seen"
        await until(
            lambda: seen.exists() and seen.read_text() == f"/opt/own/python {SOURCE.parent}\n", "both stand there"
        )
    finally:
        await machines.close()


async def test_temporary_files_are_the_machines_own_and_env_of_the_image_comes_before_flys(tmp_path: Path) -> None:
    script = 'echo "$TMPDIR"; echo "$DATA_DIR"; echo "$LEVEL"; ls "$TMPDIR"; touch "$TMPDIR/left"; : {port}'
    machines = ProcessDriver(
        SOURCE.parent,
        SOURCE.name,
        ["/bin/sh", "-c", script],
        tmp_path / "state",
        env={"DATA_DIR": "data", "LEVEL": "image"},
    )
    await machines.open()
    try:
        for _ in range(2):
            await machines.start(spec({"LEVEL": "fly"}))
            await machines.wait("m1")
        once = [str(tmp_path / "state/machines/m1/tmp"), "data", "fly"]
        assert await machines.logs("m1", 20) == once * 2
    finally:
        await machines.close()


async def test_the_folders_that_the_image_gives_are_there_and_empty_at_each_start(tmp_path: Path) -> None:
    """An app does not create the folder that its Dockerfile or a volume of fly.toml provides."""
    machines = ProcessDriver(
        SOURCE.parent,
        SOURCE.name,
        ["/bin/sh", "-c", 'ls "$SCRATCH" && touch "$SCRATCH/left" "$DB" && ls -d kept; : {port}'],
        tmp_path / "state",
        env={"SCRATCH": "data/", "DB": "db/app.db", "KIND": "kept", "PAGE": "https://x.example/y"},
    )
    await machines.open()
    try:
        for _ in range(2):
            await machines.start(spec({}))
            await machines.wait("m1")
        assert [line for line in await machines.logs("m1", 20) if "kept" not in line] == []
        assert sorted(path.name for path in (tmp_path / "state/machines/m1").rglob("left")) == ["left"]
        assert list((tmp_path / "state/machines/m1").rglob("app.db"))
        assert not list((tmp_path / "state/machines/m1").rglob("x.example"))
    finally:
        await machines.close()


async def test_a_server_that_reads_its_port_and_address_from_variables_gets_its_own(tmp_path: Path) -> None:
    """Also where fly.toml gives the variable the port that counts inside of a container."""
    machines = ProcessDriver(
        SOURCE.parent,
        SOURCE.name,
        ["/bin/sh", "-c", 'echo "$HOST:$PORT"'],
        tmp_path / "state",
        env={"PORT": "{port}", "HOST": "{host}"},
    )
    await machines.open()
    try:
        address = await machines.start(spec({"PORT": "8080"}))
        await machines.wait("m1")
        assert await machines.logs("m1", 20) == [f"{address[0]}:{address[1]}"]
    finally:
        await machines.close()
