"""Variants in place and taken back, and a stack put right, against an admin API that remembers what it was told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from parity import wraps
from parity.checks import Both, BucketCors, Env, Fault, Layer, Named, Proxy, R2Rules, Wrap, evidence
from parity.checks.browser import Notes
from parity.checks.bucket import Bucket
from parity.checks.faults import Faults
from parity.checks.machines import Machines
from parity.checks.stack import Site, Stack, StackError
from parity.checks.stage import Stage, entry_point, wrapped_files, wsgi_server
from parity.checks.verdict import NotDeclared, NotJudged, NotShown
from parity.stack.target import Target

ADMIN = "http://admin.example"
SECRET = "an-app-secret-0123456789"


class Standins:
    """An admin API: what is in force, and every change in order."""

    def __init__(self) -> None:
        self.release: dict[str, Any] = {"env": {}, "source": None, "image": None}
        self.machines: dict[str, str] = {"m1": "started"}
        self.pooled: dict[str, bool] = {}
        self.groups: dict[str, str] = {}
        # What the health check is each time that a Machine is looked at alone; passing afterwards.
        self.checks: list[str] = []
        self.faults: dict[str, dict[str, Any]] = {}
        self.wraps: list[Any] = []
        self.rules = ""
        self.cors: Any = None
        self.refuse = ""
        self.changes: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        method, path = request.method, request.url.path
        body = json.loads(request.content) if request.content else {}
        if method != "GET":
            self.changes.append(f"{method} {path}")
        if self.refuse and self.refuse in f"{method} {path}":
            return httpx.Response(504, text="not healthy")
        return httpx.Response(200, json=self._answer(method, path, body, dict(request.url.params)))

    def _answer(self, method: str, path: str, body: dict[str, Any], query: dict[str, str]) -> Any:
        match method, path.split("/")[1:]:
            case "GET", ["fly", "release"]:
                return self.release
            case "POST", ["fly", "releases"]:
                self.release = {"env": body.get("env", {}), "source": body.get("source"), "image": body.get("image")}
            case "PUT" | "DELETE", ["fly", "interposer"]:
                self.wraps = body.get("wraps", [])
            case "POST" | "DELETE", ["r2", "behaviour"]:
                self.rules = body.get("rules_off", "")
            case "PUT" | "DELETE", ["r2", "cors"]:
                self.cors = body.get("CORSRules")
            case "POST", ["r2", "faults"]:
                made = f"f{len(self.changes)}"
                self.faults[made] = {"id": made, "fired": 0, **body}
                return self.faults[made]
            case "GET", ["r2", "faults"]:
                return {"faults": list(self.faults.values())}
            case "DELETE", ["r2", "faults"]:
                [self.faults.pop(one) for one in list(self.faults) if query.get("id", one) == one]
            case "GET", ["fly", "groups"]:
                return [{"id": name, "state": state} for name, state in self.groups.items()]
            case "GET", ["fly", "machines"]:
                return [self._machine(name) for name in self.machines]
            case "POST", ["fly", "machines"]:
                self.machines[made := f"made{len(self.changes)}"] = "started"
                self.pooled[made] = body["pooled"]
                return self._machine(made)
            case "POST", ["fly", "machines", name, "start"]:
                self.machines[name] = "started"
            case "POST", ["fly", "machines", name, "destroy"]:
                self.machines.pop(name)
            case "GET", ["fly", "machines", name]:
                status = self.checks.pop(0) if self.checks else "passing"
                output = "503: no redis" if status == "critical" else "200: ok"
                return {**self._machine(name), "checks": [{"status": status, "output": output}]}
            case "GET", ["fly", "machines", name, "logs"]:
                return {"lines": [f"log of {name}", f"password={SECRET}"]}
        return {}

    def _machine(self, name: str) -> dict[str, Any]:
        state = self.machines.get(name, "started")
        return {"id": name, "state": state, "port": "open" if state == "started" else "unknown", "events": []}


@pytest.fixture
def standins() -> Standins:
    return Standins()


@pytest.fixture
async def stack(standins: Standins, tmp_path: Path) -> AsyncIterator[Stack]:
    parity = SimpleNamespace(gpu=None, services={}, app=SimpleNamespace(process=SimpleNamespace(command=["uvicorn"])))
    project = SimpleNamespace(parity=parity, settings=SimpleNamespace(state_dir=tmp_path), health_path="/health")
    target = Target("local", "https://app", "", "", "", "", ADMIN, None, "process")
    async with httpx.AsyncClient(transport=httpx.MockTransport(standins)) as http:
        yield Stack(Site(target, cast(Any, project), None), http)


@pytest.fixture
def stage(stack: Stack) -> Stage:
    return Stage(stack, {"off": Env({"R2": "off"}), "both": Both([Named("off"), R2Rules("16")])})


def in_force(standins: Standins) -> tuple[Any, ...]:
    return standins.release["env"], standins.wraps, standins.rules, standins.cors, len(standins.faults)


CONFIGURED: tuple[Any, ...] = ({}, [], "", None, 0)
EVERYTHING = Both(
    [Env({"A": "1"}), Proxy("no_cors"), R2Rules("2"), BucketCors([{"AllowedOrigins": []}]), Fault("r2", status=503)]
)
BROKEN: tuple[Any, ...] = ({"A": "1"}, [{"name": "no_cors", "settings": {}}], "2", [{"AllowedOrigins": []}], 1)


async def test_every_kind_of_variant_is_put_in_place_and_taken_back(stage: Stage, standins: Standins) -> None:
    async with stage.changed(EVERYTHING):
        assert in_force(standins) == BROKEN
    assert in_force(standins) == CONFIGURED


async def test_a_failing_test_takes_its_variant_back(stage: Stage, standins: Standins) -> None:
    with suppress(AssertionError):
        async with stage.changed(EVERYTHING):
            raise AssertionError
    assert in_force(standins) == CONFIGURED


async def test_what_a_check_changes_itself_stands_on_top_of_its_variant(stage: Stage, standins: Standins) -> None:
    async with stage.changed(Env({"A": "1"})):
        async with stage.changed(Env({"B": "2"}), Proxy("no_cors")):
            assert standins.release["env"] == {"A": "1", "B": "2"}
        assert in_force(standins) == ({"A": "1"}, [], "", None, 0)


async def test_a_proxy_needs_no_release(stage: Stage, standins: Standins) -> None:
    async with stage.changed(Proxy("answers", status=500)):
        pass
    assert "POST /fly/releases" not in standins.changes


async def test_a_variant_that_does_not_start_is_an_error_and_leaves_nothing(stage: Stage, standins: Standins) -> None:
    standins.refuse = "POST /fly/releases"
    with pytest.raises(StackError, match="not healthy"):
        async with stage.changed(R2Rules("2"), Env({"A": "1"})):
            raise AssertionError("the test must not run")
    assert standins.rules == ""
    assert standins.changes.count("POST /fly/releases") == 2  # there and back


async def test_a_fault_of_modal_is_not_declared_where_nothing_runs_there(stage: Stage, standins: Standins) -> None:
    with pytest.raises(NotDeclared, match=r"parity\.toml has no \[gpu\]"):
        async with stage.changed(Fault("modal", kind="rpc", target="*", status="UNAVAILABLE")):
            raise AssertionError("the test must not run")
    assert standins.changes == []


@pytest.mark.parametrize(
    ("command", "server"),
    [
        (["python", "-m", "gunicorn", "app:app"], "gunicorn"),
        (["/opt/bin/waitress-serve", "app:app"], "waitress-serve"),
        (["gunicorn", "-k", "uvicorn.workers.UvicornWorker", "app:app"], ""),
        (["python", "-m", "uvicorn", "app:app"], ""),
        ([], ""),
    ],
)
def test_a_wsgi_server_is_known_by_its_command(command: list[str], server: str) -> None:
    assert wsgi_server(command) == server


async def test_a_wrap_of_asgi_cannot_be_shown_with_a_wsgi_application(stage: Stage, standins: Standins) -> None:
    stage.stack.site.project.parity.app.process.command[:] = ["gunicorn", "app:app"]  # type: ignore[union-attr]
    with pytest.raises(NotShown, match="gunicorn serves a WSGI application"):
        async with stage.changed(Wrap(wraps.boot.blocking, {"seconds": 1.0})):
            raise AssertionError("the test must not run")
    assert standins.changes == []


async def test_names_are_looked_up_in_the_contract(stage: Stage, standins: Standins) -> None:
    async with stage.changed(Named("both")):
        assert in_force(standins) == ({"R2": "off"}, [], "16", None, 0)
    async with stage.changed(Named("absent", otherwise=R2Rules("3"))):
        assert standins.rules == "3"
    with pytest.raises(NotDeclared, match="no broken variant 'absent'"):
        async with stage.changed(Named("absent")):
            pass


async def test_a_layer_cannot_be_shown_by_processes(stage: Stage) -> None:
    with pytest.raises(NotShown):
        async with stage.changed(Layer({"/app/x": ""})):
            pass


async def test_whatever_a_killed_run_left_is_put_right(stage: Stage, standins: Standins, tmp_path: Path) -> None:
    (tmp_path / "variants" / "left" / "source").mkdir(parents=True)
    standins.release = {"env": {"A": "1"}, "source": "/tmp/x", "image": None}
    standins.wraps, standins.rules, standins.cors = [{"name": "no_cors"}], "2", [{}]
    standins.faults, standins.machines = {"f": {"id": "f"}}, {"m1": "stopped", "m2": "started", "m3": "suspended"}
    await stage.as_configured()
    assert in_force(standins) == CONFIGURED
    assert list(standins.machines) == ["m1"]
    assert "POST /fly/machines/m1/start" in standins.changes
    assert not (tmp_path / "variants").exists()


async def test_a_bucket_that_a_killed_run_emptied_is_restored_once(stage: Stage, standins: Standins) -> None:
    emptied = Bucket(stage.stack).emptied()
    await emptied.__aenter__()  # and never left: the process was killed
    assert standins.changes == ["POST /r2/snapshot", "POST /r2/reset"]
    await stage.as_configured()
    await stage.as_configured()
    assert standins.changes.count("POST /r2/restore") == 1


async def test_an_emptied_bucket_is_restored_at_the_end(stack: Stack, standins: Standins) -> None:
    async with Bucket(stack).emptied():
        pass
    assert standins.changes == ["POST /r2/snapshot", "POST /r2/reset", "POST /r2/restore"]


async def test_a_store_without_snapshots_is_not_emptied(stack: Stack, standins: Standins) -> None:
    standins.refuse = "/r2/snapshot"
    with pytest.raises(NotShown, match="no snapshots"):
        await Bucket(stack).emptied().__aenter__()
    assert standins.changes == ["POST /r2/snapshot"]


async def test_a_machine_that_misses_one_health_check_is_waited_for(
    stack: Stack, standins: Standins, monkeypatch: pytest.MonkeyPatch
) -> None:
    standins.checks = ["critical", "critical", "passing", "critical"]
    assert await Machines(stack).first() == "m1"
    assert standins.checks == ["critical"]
    monkeypatch.setattr("parity.checks.machines.ROUTED_WITHIN_S", 0.0)
    assert await Machines(stack).first() == "m1"  # and not for ever: a check may be about just that


async def test_one_more_machine_that_misses_its_first_health_check_is_waited_for(
    stack: Stack, standins: Standins
) -> None:
    standins.checks = ["passing", "critical", "critical", "passing", "critical"]  # the first look is at its port
    async with Machines(stack).one_more():
        assert standins.checks == ["critical"]


async def test_a_machine_whose_health_check_stays_refused_says_why_and_is_not_waited_for_twice(
    stack: Stack, standins: Standins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parity.checks.machines._REFUSED", {})
    monkeypatch.setattr("parity.checks.machines.ROUTED_WITHIN_S", 0.0)
    standins.checks = ["critical"] * 4
    with pytest.raises(NotJudged, match=r"/health fails: .* is answered 503: no redis.* last log lines: log of m1"):
        await Machines(stack).serving()
    monkeypatch.setattr("parity.checks.machines.ROUTED_WITHIN_S", 600.0)
    standins.checks += ["critical"] * 4
    with pytest.raises(NotJudged, match="no redis"):
        await Machines(stack).serving()
    standins.checks.clear()
    assert await Machines(stack).serving() == "m1"


async def test_a_check_that_runs_apart_replaces_its_own_machines_alone(stack: Stack, standins: Standins) -> None:
    stack.own = []
    machines = Machines(stack)
    first = await machines.first()
    assert await machines.first() == first != "m1"
    async with machines.one_more() as second:
        assert [one["id"] for one in await machines.all()] == [first, second]
    again = await machines.replace_all()
    assert again not in ("m1", first)
    assert list(standins.machines) == ["m1", again]
    await machines.destroy_all()
    assert list(standins.machines) == ["m1"]
    assert not any(standins.pooled.values()), "the edge may stop a Machine in the middle of the check"


async def test_the_machine_that_stays_may_be_stopped_by_the_edge_and_is_started_again(
    stack: Stack, standins: Standins
) -> None:
    machines = Machines(stack)
    made = await machines.replace_all()
    assert standins.pooled == {made: True}
    standins.machines[made] = "stopped"
    assert await machines.open(made) == made


def test_a_fault_of_a_check_that_runs_apart_meets_its_own_person(stack: Stack) -> None:
    assert Faults(stack).reach("staging/users/ada/") == "*"
    stack.own = []
    assert Faults(stack).reach("staging/users/ada/") == "*staging/users/ada/*"


async def test_workers_that_a_killed_run_stopped_are_started(stage: Stage, standins: Standins) -> None:
    standins.groups = {"w1": "stopped", "w2": "started"}
    await stage.as_one_finds_it()
    assert standins.changes.count("POST /fly/machines/w1/start") == 1
    assert "POST /fly/machines/w2/start" not in standins.changes


async def test_a_question_whose_connection_was_just_closed_is_asked_again_and_a_change_is_not(
    stack: Stack, standins: Standins
) -> None:
    asked: list[str] = []

    def closing(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        if len(asked) == 1:
            raise httpx.ReadError("", request=request)
        return standins(request)

    stack.http = httpx.AsyncClient(transport=httpx.MockTransport(closing))
    assert await stack.admin("GET", "/fly/release")
    asked.clear()
    with pytest.raises(StackError, match="ReadError"):
        await stack.admin("POST", "/fly/machines")
    assert asked == ["POST"]


async def test_a_stack_that_is_right_gets_no_release(stage: Stage, standins: Standins) -> None:
    await stage.as_configured()
    assert "POST /fly/releases" not in standins.changes


async def test_a_fault_that_no_request_met_is_not_judged(stack: Stack, standins: Standins) -> None:
    with pytest.raises(NotJudged, match="no request met the fault"):
        async with Faults(stack).on("k*", status=503):
            pass
    assert standins.faults == {}
    async with Faults(stack).on("k*", status=503):
        next(iter(standins.faults.values()))["fired"] = 2
    async with Faults(stack).on("k*", must_fire=False, status=503):
        pass


async def test_a_failure_is_told_before_a_fault_that_never_fired(stack: Stack) -> None:
    with pytest.raises(AssertionError, match="lost"):
        async with Faults(stack).on("k*", status=503):
            raise AssertionError("lost")


async def test_evidence_has_the_logs_of_machines_that_are_gone_and_no_secret(
    stack: Stack, standins: Standins, tmp_path: Path
) -> None:
    standins.machines["m2"] = "started"
    standins.groups["w1"] = "started"
    await Machines(stack).destroy("m2")
    stack.said.append({"asked": "GET /x?token=abcdef123456", "body": f'{{"key": "{SECRET}"}}'})
    folder = tmp_path / "evidence"
    await evidence.leave(folder, f"failed: {SECRET}", stack, Notes(), [SECRET])
    assert {"machine-m1.log", "machine-m2.log", "machine-w1.log", "reason.txt", "requests.json"} <= {
        f.name for f in folder.iterdir()
    }
    assert "log of m2" in (folder / "machine-m2.log").read_text()
    everything = "".join(file.read_text() for file in folder.iterdir())
    assert SECRET not in everything
    assert "abcdef123456" not in everything
    json.loads((folder / "requests.json").read_text())


def test_wraps_are_put_around_the_app_from_the_inside_out() -> None:
    inner, outer = Wrap(wraps.answers.slow, {"seconds": 1}), Wrap(wraps.answers.no_cors)
    files = wrapped_files("app = object()\n", "app/main.py", "app", [inner, outer])
    entry = files["app/main.py"]
    assert entry.index("slow") < entry.index("no_cors")
    assert "app/parity_wraps/answers.py" in files
    compile(entry, "app/main.py", "exec")


def test_a_start_command_without_the_app_says_what_to_do() -> None:
    process = SimpleNamespace(command=["{python}", "-m", "tactics"])
    project = SimpleNamespace(parity=SimpleNamespace(app=SimpleNamespace(process=process)))
    with pytest.raises(NotShown, match=r"Name it there \(uvicorn package\.module:app\).* contract's crash"):
        entry_point(cast(Any, project))
    process.command = ["uvicorn", "tactics.app:app"]
    assert entry_point(cast(Any, project)) == ("tactics/app.py", "app")
