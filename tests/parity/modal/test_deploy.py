"""`modal deploy`, the SDK's own command, and what is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import modal
import pytest
from tests.parity.modal.support import Stack, until, write_project

APPS = Path(__file__).parent / "app"


def deploy(stack: Stack, entry: Path, **changed: str) -> subprocess.CompletedProcess[str]:
    environ = {
        **os.environ,
        "MODAL_SERVER_URL": stack.url,
        "MODAL_TOKEN_ID": "ak-standin",
        "MODAL_TOKEN_SECRET": "as-standin",
        "PYTHONPATH": str(entry.parent),
        **changed,
    }
    command = [sys.executable, "-m", "modal", "deploy", str(entry)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=180)


def test_a_container_that_cannot_start_hands_its_error_to_the_caller(stack: Stack) -> None:
    done = deploy(stack, APPS / "broken.py")
    assert done.returncode == 0, done.stdout + done.stderr
    with pytest.raises(RuntimeError, match="weights are missing"):
        modal.Function.from_name("broken-app", "never").spawn().get(timeout=60)


def test_a_deploy_with_a_wrong_token_changes_nothing(stack: Stack) -> None:
    before = stack.admin.get("/apps").json()
    done = deploy(stack, APPS / "deployed.py", MODAL_TOKEN_SECRET="as-wrong")
    assert done.returncode != 0
    assert stack.admin.get("/apps").json() == before


def test_what_is_not_served_fails_its_deploy_by_name_and_publishes_nothing(stack: Stack) -> None:
    done = deploy(stack, APPS / "endpoint.py")
    assert done.returncode != 0
    assert "a function with a schedule" in done.stdout + done.stderr
    published = [app["name"] for app in stack.admin.get("/apps").json() if app["deployed_at"]]
    assert "endpoint-app" not in published


def test_a_new_deploy_runs_new_code_under_the_old_id(stack: Stack, tmp_path: Path) -> None:
    entry = tmp_path / "growing.py"
    code = "import modal\napp = modal.App('growing-app')\n\n@app.function()\ndef version():\n    return {}\n"
    ids = []
    for number in (1, 2):
        entry.write_text(code.format(number))
        assert deploy(stack, entry).returncode == 0
        handle = modal.Function.from_name("growing-app", "version")
        assert handle.remote() == number
        ids.append(handle.object_id)
    assert ids[0] == ids[1]


GROWING = "import modal\napp = modal.App('reel-ballers-video')\n\n@app.function()\ndef f(): return 'f'\n"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own: it can be emptied without loss for other tests."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "growing.py").write_text(GROWING)
    own = Stack(folder / "project", folder / "growing.py", [folder])
    try:
        own.start("serve")
        own.start("worker")
        own.wait_until_ready()
        yield own
    finally:
        own.close()


def test_the_app_is_deployed_again_with_its_changes_when_that_is_asked(own: Stack) -> None:
    entry = own.root.parent / "growing.py"
    entry.write_text(GROWING + "\n@app.function()\ndef g(): ...\n")
    assert own.admin.post("/deploy").status_code == 204
    assert [f["name"] for f in own.app()["functions"]] == ["f", "g"]


def test_a_deploy_that_fails_says_why_and_leaves_the_last_good_one(own: Stack) -> None:
    entry = own.root.parent / "growing.py"
    good, before = entry.read_text(), own.app()["functions"]
    entry.write_text("def broken(:\n")
    answer = own.admin.post("/deploy")
    assert answer.status_code == 422
    assert "SyntaxError" in answer.json()["detail"]
    assert own.app()["functions"] == before
    entry.write_text(good)


def test_without_a_worker_nothing_is_deployed(own: Stack) -> None:
    own.stop("worker")
    until(lambda: own.admin.get("/healthz").status_code == 503)
    assert own.admin.post("/deploy").status_code == 503
    own.start("worker")
    own.wait_until_ready()


def test_a_control_plane_that_lost_its_state_gets_the_app_again_with_the_same_ids(own: Stack) -> None:
    before = own.app()
    own.stop("serve")
    shutil.rmtree(own.root / ".parity" / "modal")
    own.start("serve")
    own.wait_until_ready()
    after = own.app()
    assert after["id"] == before["id"]
    assert after["functions"][0]["id"] == before["functions"][0]["id"]


def test_a_worker_whose_app_does_not_deploy_says_why_and_ends(stack: Stack, tmp_path: Path) -> None:
    entry = tmp_path / "wrong.py"
    entry.write_text("import modal\nraise SystemError('this file is wrong')\n")
    environ = stack.environ | {"PARITY_ROOT": str(tmp_path / "project")}
    write_project(tmp_path / "project", entry, [tmp_path])
    command = [sys.executable, "-m", "parity.modal", "worker"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=180)
    assert done.returncode == 1
    assert f"{entry}: `modal deploy` failed" in done.stderr
    assert "this file is wrong" in done.stderr


def test_a_port_that_is_taken_is_named(stack: Stack) -> None:
    command = [sys.executable, "-m", "parity.modal", "serve"]
    done = subprocess.run(command, env=stack.environ, capture_output=True, text=True, timeout=180)
    assert done.returncode == 1
    assert f"PARITY_MODAL_PORT: cannot listen on port {stack.ports['MODAL_PORT']}" in done.stderr
    assert "Traceback" not in done.stderr
