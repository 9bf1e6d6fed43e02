import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

from parity.config.project import Project
from parity.config.settings import HarnessSettings, load_settings
from parity.config.variables import names
from parity.stack.lifecycle import required_ports
from parity.stack.plan import KINDS, child_environment, plan


def test_the_stack_is_r2_modal_worker_fly_and_the_page(project: Project) -> None:
    parts = plan(project, {}, "python3", "/bin")
    assert [(part.name, part.argv) for part in parts] == [
        ("r2", ("python3", "-m", "parity.r2", "serve")),
        ("modal", ("python3", "-m", "parity.modal", "serve")),
        ("worker", ("python3", "-m", "parity.modal", "worker")),
        ("fly", ("python3", "-m", "parity.fly", "serve")),
        ("frontend", ("python3", "-m", "parity.frontend", "serve")),
    ]
    assert {part.cwd for part in parts} == {project.settings.root}


def test_each_port_setting_belongs_to_one_part_or_is_used_while_debugging_only() -> None:
    used = ["PARITY_DEBUG_PORT", "PARITY_GPU_DEBUG_PORT"]
    used += [variable for kind in KINDS for variable in kind.ports]
    assert sorted(used) == sorted(name for name in names(HarnessSettings) if name.endswith("_PORT"))


def test_a_part_is_asked_for_its_health_on_the_port_that_is_set(checkout: Path) -> None:
    moved = Project.load({"PARITY_ROOT": str(checkout), "PARITY_ADMIN_PORT": "25001", "PARITY_R2_ADMIN_PORT": "25002"})
    urls = {part.name: part.health_url for part in plan(moved, {}, "python3", "/bin")}
    assert urls["fly"] == "http://127.0.0.1:25001/fly/healthz"
    assert urls["r2"] == "http://127.0.0.1:25002/r2/healthz"
    assert urls["worker"] == urls["modal"]


def test_real_credentials_and_proxies_of_the_shell_do_not_reach_a_part(project: Project) -> None:
    shell = {"AWS_SECRET_ACCESS_KEY": "real", "MODAL_TOKEN_SECRET": "real", "HTTPS_PROXY": "http://x", "HOME": "/h"}
    env = child_environment(project, shell, "/tools")
    assert not {"AWS_SECRET_ACCESS_KEY", "MODAL_TOKEN_SECRET", "HTTPS_PROXY"} & set(env)
    assert (env["HOME"], env["PATH"]) == ("/h", "/tools")


def test_a_part_reads_the_very_settings_that_up_read(checkout: Path) -> None:
    given = {"PARITY_ROOT": str(checkout), "PARITY_API_PORT": "25443", "PARITY_STATE_DIR": "elsewhere"}
    project = Project.load(given)
    seen = load_settings(child_environment(project, {}, ""))
    differing = [f.name for f in fields(seen) if getattr(seen, f.name) != getattr(project.settings, f.name)]
    assert differing == []


def test_settings_of_one_stand_in_alone_reach_it(project: Project) -> None:
    assert child_environment(project, {"PARITY_FLY_QUEUE_S": "3"}, "")["PARITY_FLY_QUEUE_S"] == "3"


def test_the_ports_that_must_be_free_are_those_of_all_parts(project: Project) -> None:
    ports = required_ports(plan(project, {}, "python3", ""))
    assert (ports["PARITY_API_PORT"], ports["PARITY_MODAL_BLOB_PORT"], len(ports)) == (8443, 9901, 10)


def test_an_app_without_gpu_functions_and_page_has_no_parts_for_them(project: Project) -> None:
    app = project.parity.app.model_copy(update={"frontend_origin": ""})
    parity = project.parity.model_copy(update={"gpu": None, "app": app})
    assert [part.name for part in plan(replace(project, parity=parity), {}, "python3", "")] == ["r2", "fly"]


def test_a_module_of_the_apps_folder_takes_no_place_of_the_harnesss_own(project: Project, tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise SystemExit('the app has a module of this name')")
    environment = child_environment(project, os.environ, os.environ["PATH"])
    done = subprocess.run([sys.executable, "-m", "parity.fly", "--help"], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0
