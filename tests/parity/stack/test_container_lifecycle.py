"""A second ``make up`` says that all is well when it is: not while new Machines take the place of those that ran."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from parity.config.settings import load_settings
from parity.fly.machines.container import VOLUME_LABEL
from parity.stack import container_lifecycle
from parity.stack.container_lifecycle import all_healthy, explanation, machines_return
from parity.stack.containers import MACHINE_VOLUME_LABEL, Containers
from parity.stack.errors import NotRunning
from parity.stack.hands import Output
from parity.stack.status import machine_state

Machine = dict[str, object]


def machine(state: str, *, healthy: bool) -> Machine:
    return {"id": "m1", "state": state, "healthy": healthy}


GOOD, YOUNG = machine("started", healthy=True), machine("started", healthy=False)
ASLEEP, STARTING = machine("stopped", healthy=False), machine("starting", healthy=False)


class Answers:
    """Hands that run nothing and answer what the test says, by a word of the command."""

    def __init__(self, **texts: str) -> None:
        self.texts = texts

    def run(self, argv: Sequence[str], env: Mapping[str, str]) -> int:
        return 0

    def output(self, argv: Sequence[str], env: Mapping[str, str], timeout_s: float | None = None) -> Output:
        return Output(0, next((text for word, text in self.texts.items() if word in argv), ""), "")


def stack(root: Path, **texts: str) -> Containers:
    return Containers(load_settings({"PARITY_ROOT": str(root)}), root, {}, Answers(**texts))


@pytest.mark.parametrize(
    ("machines", "running", "expected"),
    [
        ([GOOD], 1, True),
        ([GOOD, ASLEEP], 1, True),
        ([YOUNG], 1, False),
        ([STARTING], 0, False),
        ([GOOD], 0, False),  # the admin API still shows one that Compose has just removed
        ([GOOD], 2, False),
        ([ASLEEP], 0, False),
        ([], 0, False),
    ],
)
def test_all_is_well_when_each_machine_that_is_awake_passes_and_the_engine_shows_as_many(
    machines: list[Machine], running: int, expected: bool
) -> None:
    assert all_healthy(machines, running) is expected


def test_machines_are_waited_for_until_they_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: Iterator[list[Machine] | None] = iter([None, [STARTING], [YOUNG], [GOOD]])

    def ask(*_: object) -> list[Machine]:
        answer = next(told)
        if answer is None:
            raise NotRunning("nothing answers")
        return answer

    monkeypatch.setattr(container_lifecycle, "ask", ask)
    assert machines_return(stack(tmp_path, api="0123456789ab\n"), 60)


def test_machines_that_never_pass_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_lifecycle, "ask", lambda *_: [YOUNG])
    assert not machines_return(stack(tmp_path, api="0123456789ab\n"), 0)


def test_an_explanation_shows_each_part_and_the_last_lines_of_those_that_are_not_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = '{"Service":"r2","State":"running","Health":"healthy"}\n{"Service":"fly","State":"exited","Status":"x"}\n'
    monkeypatch.setattr(
        container_lifecycle, "unwell_machines", lambda _: ["last lines of Machine m1, the app:", "boom"]
    )
    lines = explanation(stack(tmp_path, ps=shown, logs="first\nlast\n"))
    assert "last lines of fly:" in lines
    assert "last lines of r2:" not in lines
    assert lines[-3:] == ["last", "last lines of Machine m1, the app:", "boom"]


def test_ports_that_the_engine_shows_are_ours_or_another_container_s_ranges_too(tmp_path: Path) -> None:
    ours = load_settings({"PARITY_ROOT": str(tmp_path)}).compose_project_name
    shown = (
        f"{ours}\tours-r2-1\t{tmp_path}\t127.0.0.1:9900-9901->9900-9901/tcp\n"
        f"{ours}\tours-fly-1\t{tmp_path}\t127.0.0.1:8443->443/tcp, 127.0.0.1:8080->80/tcp\n"
        "other\tother-r2-1\t/srv/other\t127.0.0.1:9000->9000/tcp\n"
        "\tpostgres\t\t0.0.0.0:5432->5432/tcp, [::]:5432->5432/tcp\n"
        f"{ours}\tours-worker-1\t{tmp_path}\t\n"
    )
    assert stack(tmp_path, ps=shown).held_ports() == {
        **dict.fromkeys((9900, 9901, 8443, 8080), ""),
        9000: "container other-r2-1 of /srv/other",
        5432: "container postgres",
    }


def test_the_editor_s_container_is_no_stack_no_part_and_goes_on_when_the_stack_stops(tmp_path: Path) -> None:
    editor, r2 = f"dev\t{tmp_path}\n", f"r2\t{tmp_path}\n"
    assert not stack(tmp_path, **{"--all": editor}).exist()
    assert stack(tmp_path, **{"--all": editor + r2}).exist()
    parts = '{"Service":"r2","State":"running","Health":"healthy"}\n{"Service":"dev","State":"running"}\n'
    assert [part.name for part in stack(tmp_path, ps=parts).parts()] == ["r2"]
    ran: list[Sequence[str]] = []

    class Noting(Answers):
        def run(self, argv: Sequence[str], env: Mapping[str, str]) -> int:
            ran.append(argv)
            return 0

    hands = Noting(config="checks\ndev\ndurable\ntools\n")
    Containers(load_settings({"PARITY_ROOT": str(tmp_path)}), tmp_path, {}, hands).stop()
    (down,) = ran
    assert down[-8:] == [
        "--profile",
        "checks",
        "--profile",
        "durable",
        "--profile",
        "tools",
        "down",
        "--remove-orphans",
    ]


@pytest.mark.parametrize(
    ("state", "events", "words"),
    [
        ("stopped", ["started", "stopping", "stopped"], "asleep (stopped"),
        ("suspended", ["suspending", "suspended"], "asleep (suspended"),
        ("stopped", ["starting", "started", "stopped"], "ended by itself"),
        ("started", ["started"], "started, healthy"),
    ],
)
def test_a_machine_without_requests_is_asleep_and_one_that_crashed_is_not(
    state: str, events: list[str], words: str
) -> None:
    found: dict[str, object] = {"state": state, "healthy": True, "events": [{"type": kind} for kind in events]}
    assert machine_state(found).startswith(words)
    asleep = words == "asleep (stopped"
    assert machine_state({**found, "group": "worker"}).startswith("stopped (no request" if asleep else words)


class Recorded(Answers):
    """Hands that also keep the commands."""

    def __init__(self, **texts: str) -> None:
        super().__init__(**texts)
        self.commands: list[list[str]] = []

    def output(self, argv: Sequence[str], env: Mapping[str, str], timeout_s: float | None = None) -> Output:
        self.commands.append(list(argv))
        return super().output(argv, env, timeout_s)


@pytest.mark.parametrize(
    ("volumes", "removed"), [(True, [["docker", "volume", "rm", "a_data_0", "a_data_1"]]), (False, [])]
)
def test_the_volumes_that_machines_made_go_with_the_others(
    tmp_path: Path, volumes: bool, removed: list[list[str]]
) -> None:
    hands = Recorded(ls="a_data_0\na_data_1\n")
    containers = Containers(load_settings({"PARITY_ROOT": str(tmp_path)}), tmp_path, {}, hands)
    assert containers.stop(volumes=volumes) == 0
    assert [command for command in hands.commands if "rm" in command] == removed
    listed = [command for command in hands.commands if "ls" in command]
    assert all(f"label=com.docker.compose.project={containers.project}" in command for command in listed)


def test_the_label_of_machines_volumes_is_the_stand_ins() -> None:
    assert MACHINE_VOLUME_LABEL == VOLUME_LABEL
