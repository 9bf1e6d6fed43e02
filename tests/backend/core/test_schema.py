"""app.db.schema: databases are brought up, and a deploy can be taken back as far as its migrations say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import httpx
import pytest
from tests.backend.fakes import FakeStore

from app.db import __main__ as command
from app.db import schema
from app.db.schema import Migration, NewerSchema
from app.main import create_app
from app.settings import Settings

BACKEND = Path(__file__).parents[3] / "src" / "backend"
RELEASED = schema.all_migrations()
KNOWN = len(RELEASED)
RELEASED = schema.all_migrations()
KNOWN = len(RELEASED)
HEADERS = {"X-User-ID": "alice", "X-Profile-ID": "main"}


def expand(connection: apsw.Connection) -> None:
    """What the next release might add, each in a way that this one can live with."""
    connection.execute("CREATE TABLE tags (id TEXT PRIMARY KEY) STRICT")
    for table in ("games", "clips", "projects", "jobs"):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN tag TEXT NOT NULL DEFAULT 'none'")
    connection.execute("UPDATE projects SET options = json_set(options, '$.frame', 'gold')")


def contract(connection: apsw.Connection) -> None:
    connection.execute("ALTER TABLE projects RENAME COLUMN name TO title")


def steps(*ups: tuple[Callable[[apsw.Connection], None], int]) -> tuple[Migration, ...]:
    """The migrations of this release and then others."""
    return (
        *RELEASED,
        *(Migration(f"next{number}", oldest, up) for number, (up, oldest) in enumerate(ups)),
    )


def test_a_database_says_from_which_schema_on_a_release_can_use_it() -> None:
    database = apsw.Connection(":memory:")
    schema.migrate(database, steps((expand, KNOWN)))
    assert (database.pragma("user_version"), database.pragma("application_id")) == (KNOWN + 1, KNOWN + 1 << 16 | KNOWN)
    assert schema.is_behind(database) is False
    assert schema.migrate(database) is False
    assert database.pragma("user_version") == KNOWN + 1


def test_what_one_step_closes_a_later_one_does_not_open() -> None:
    database = apsw.Connection(":memory:")
    schema.migrate(database, steps((contract, KNOWN + 1), (lambda _: None, 1)))
    with pytest.raises(NewerSchema, match=f"schema version {KNOWN + 2}, .* from schema version {KNOWN + 1} on"):
        schema.migrate(database)


@pytest.mark.parametrize("application_id", [0, 1, KNOWN << 16 | 1])
def test_a_newer_database_without_the_number_of_its_version_is_refused(application_id: int) -> None:
    database = apsw.Connection(":memory:")
    schema.migrate(database)
    database.pragma("user_version", KNOWN + 1)
    database.pragma("application_id", application_id)
    with pytest.raises(NewerSchema):
        schema.is_behind(database)


@pytest.mark.parametrize(("up", "oldest", "status"), [(expand, KNOWN, 200), (contract, KNOWN + 1, 503)])
async def test_new_release_one_request_old_release(
    store: FakeStore,
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    up: Callable[[apsw.Connection], None],
    oldest: int,
    status: int,
) -> None:
    """Behind an expanding migration the older release goes on reading and writing; behind a closing one it refuses."""

    async def ask(*requests: tuple[str, str, object]) -> list[httpx.Response]:
        """The answers of a Machine that starts for these requests and stops."""
        app = create_app(make_settings(), store)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="https://api.test", headers=HEADERS) as client,
        ):
            return [await client.request(method, path, json=body) for method, path, body in requests]

    made = await ask(
        ("POST", "/api/profiles", {"name": "Main", "id": "main"}), ("POST", "/api/projects", {"name": "before"})
    )
    assert [answer.status_code for answer in made] == [201, 201]
    with monkeypatch.context() as newer:
        newer.setattr(schema, "all_migrations", lambda: steps((up, oldest)))
        (migrated,) = await ask(("GET", "/api/settings", None))
    assert migrated.status_code == 200
    project = made[1].json()["id"]
    listed, changed, exported, games = await ask(
        ("GET", "/api/projects", None),
        ("PATCH", f"/api/projects/{project}", {"name": "after"}),
        ("POST", "/api/projects", {"name": "another"}),
        ("GET", "/api/games", None),
    )
    assert listed.status_code == status
    if status == 200:
        assert [item["name"] for item in listed.json()["projects"]] == ["before"]
        assert (changed.status_code, changed.json()["name"]) == (200, "after")
        assert (exported.status_code, games.status_code) == (201, 200)
    else:
        assert listed.json()["type"] == "/problems/schema-too-new"
        assert changed.status_code == 503


def test_the_command_prints_the_schema_without_any_settings() -> None:
    done = subprocess.run([sys.executable, "-m", "app.db"], cwd=BACKEND, env={}, capture_output=True, check=True)
    known = json.loads(done.stdout)
    assert (known["version"], known["oldest"]) == (KNOWN, schema.oldest_version(schema.all_migrations()))
    assert [step["version"] for step in known["migrations"]] == list(range(1, KNOWN + 1))


@pytest.mark.parametrize(
    ("ups", "back_to", "status", "named"),
    [
        ([(expand, KNOWN)], KNOWN, 0, []),
        ([(contract, KNOWN + 1)], KNOWN, 1, ["next0"]),
        ([(expand, KNOWN), (contract, KNOWN + 1)], KNOWN, 1, ["next1"]),
        ([(expand, KNOWN), (contract, KNOWN + 1)], KNOWN + 1, 0, []),
        ([], KNOWN + 5, 0, []),
    ],
)
def test_the_command_names_each_migration_that_closes_the_way_back(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ups: list[tuple[Callable[[apsw.Connection], None], int]],
    back_to: int,
    status: int,
    named: list[str],
) -> None:
    known = steps(*ups)
    monkeypatch.setattr(command, "all_migrations", lambda: known)
    for release in (str(back_to), json.dumps({"version": back_to, "oldest": 1, "migrations": []})):
        assert command.main(["--back-to", release]) == status
        assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == named


@pytest.mark.parametrize("release", ["", "reel", "{}", "[1]", "null"])
def test_the_command_refuses_what_no_release_prints(release: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--back-to", release])
    assert ended.value.code == 2
    assert "expected a schema version" in capsys.readouterr().err
