from dataclasses import replace
from pathlib import Path

from parity.config.compose_env import FILE, NO_PACKAGES, compose_env_text, compose_environment
from parity.config.project import Project

ROOT = Path(__file__).parents[3]


def test_the_file_is_what_fly_toml_parity_toml_and_the_settings_say() -> None:
    project = Project.load({"PARITY_ROOT": str(ROOT)})
    assert (ROOT / FILE).read_text("utf-8") == compose_env_text(project), "run: parity config write"


def test_names_follow_the_files_and_moved_ports_do_not() -> None:
    project = Project.load({"PARITY_ROOT": str(ROOT), "PARITY_API_PORT": "1", "PARITY_PORT_OFFSET": "7"})
    moved = replace(project, fly=project.fly.model_copy(update={"app": "other"}))
    found = compose_environment(moved)
    assert (found["PARITY_API_HOST"], found["PARITY_API_PORT"], found["PARITY_HOME"]) == ("other.fly.dev", "8443", ".")


def test_an_app_without_a_page_has_a_name_that_nothing_resolves() -> None:
    project = Project.load({"PARITY_ROOT": str(ROOT)})
    app = project.parity.app.model_copy(update={"frontend_origin": ""})
    without = replace(project, parity=project.parity.model_copy(update={"app": app}))
    assert compose_environment(without)["PARITY_FRONTEND_HOST"] == "page.invalid"


def test_the_file_with_the_functions_packages_is_named_by_folder_and_name() -> None:
    project = Project.load({"PARITY_ROOT": str(ROOT)})
    assert compose_environment(project)["PARITY_GPU_FOLDER"] == "src/parity/container/no-packages"
    assert NO_PACKAGES.read_text() == ""
    assert project.parity.gpu is not None
    gpu = project.parity.gpu.model_copy(update={"requirements": "src/gpu/needs.txt"})
    found = compose_environment(replace(project, parity=project.parity.model_copy(update={"gpu": gpu})))
    assert (found["PARITY_GPU_FOLDER"], found["PARITY_GPU_REQUIREMENTS"]) == ("src/gpu", "needs.txt")
