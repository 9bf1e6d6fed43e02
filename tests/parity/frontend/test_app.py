import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from parity.config.project import Project
from parity.frontend import app as frontend
from parity.frontend.app import create_app, page_config

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project() -> Project:
    return Project.load({"PARITY_ROOT": str(ROOT), "PARITY_API_PORT": "25443"})


def asked(project: Project) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(project))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:5173")


@pytest.fixture
async def client(project: Project) -> AsyncIterator[httpx.AsyncClient]:
    async with asked(project) as client:
        yield client


async def test_on_localhost_the_page_calls_this_stack(client: httpx.AsyncClient) -> None:
    assert (await client.get("/config.json")).json()["api"] == "https://localhost:25443"


async def test_under_its_public_name_the_page_calls_the_public_api(client: httpx.AsyncClient) -> None:
    answer = await client.get("/config.json", headers={"Host": "reel-ballers-staging.pages.dev"})
    assert answer.json() == {"api": "https://reel-ballers-api-staging.fly.dev"}


def test_the_deployed_sites_own_config_says_what_the_stand_in_says(project: Project) -> None:
    shipped = json.loads((ROOT / "src/frontend/config.json").read_text())
    assert shipped == page_config(project, project.frontend_hostname)


@pytest.mark.parametrize(("host", "shown"), [("localhost", True), ("reel-ballers-staging.pages.dev", False)])
async def test_people_are_told_that_the_working_tree_is_served_and_the_deployed_form_stays_as_it_is(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, host: str, shown: bool
) -> None:
    async def note(_: Project) -> str:
        return "working tree, not the image"

    monkeypatch.setattr(frontend, "dev_note", note)
    answer = (await client.get("/config.json", headers={"Host": host})).json()
    assert (answer.get("dev") == "working tree, not the image") is shown


async def test_a_fly_stand_in_that_does_not_answer_is_no_working_tree(tmp_path: Path) -> None:
    project = Project.load({"PARITY_ROOT": str(ROOT), "PARITY_ADMIN_PORT": "9"})
    assert await frontend.dev_note(project) is None


@pytest.mark.parametrize("host", ["[::1]:5173", "127.0.0.1", "localhost"])
def test_any_local_host_header_means_this_stack(project: Project, host: str) -> None:
    assert page_config(project, host)["api"] == "https://localhost:25443"


async def test_an_api_path_asked_of_the_page_gets_html_and_200(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/health")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")


async def test_nothing_is_cached(client: httpx.AsyncClient) -> None:
    for path in ("/", "/app.js", "/config.json"):
        assert (await client.get(path)).headers["cache-control"] == "no-store"


async def test_the_page_takes_no_writes(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/profiles", json={})).status_code == 405


async def test_each_module_that_the_page_imports_is_served(client: httpx.AsyncClient) -> None:
    for file in (ROOT / "src/frontend").glob("*.js"):
        answer = await client.get(f"/{file.name}")
        assert (answer.headers["content-type"], answer.text) == ("application/javascript", file.read_text())


async def test_it_is_healthy_only_with_a_page(client: httpx.AsyncClient, project: Project, tmp_path: Path) -> None:
    assert (await client.get("/healthz")).status_code == 200
    empty = project.parity.model_copy(
        update={"app": project.parity.app.model_copy(update={"frontend_dir": str(tmp_path)})}
    )
    bare = Project(project.settings, empty, project.fly, project.secrets, project.standin_env)
    async with asked(bare) as other:
        assert (await other.get("/healthz")).status_code == 503
