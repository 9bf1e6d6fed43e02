import os
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from parity.config.compose_env import HOME
from parity.config.errors import ConfigError
from parity.config.project import Project
from parity.config.settings import load_settings
from parity.stack.addresses import URL_KEYS, browser_command, shell_exports, tool_environment, urls
from parity.stack.processes import ProcessId
from parity.stack.state import PartState, StackState, write_state
from parity.stack.target import INSIDE, Target, local_project, with_driver


def running_state(project: Project) -> StackState:
    part = PartState("r2", ProcessId.of(os.getpid()), "http://127.0.0.1:1/", "r2.log")
    return StackState(project.settings.environment(), (part,), ready=True)


def test_urls_have_exactly_the_promised_keys(project: Project) -> None:
    assert (
        tuple(urls(Target.local(project, "process"))) == URL_KEYS == ("api", "frontend", "r2", "modal", "admin", "ca")
    )


def test_a_running_stack_is_found_on_the_ports_it_was_started_with(checkout: Path) -> None:
    moved = Project.load({"PARITY_ROOT": str(checkout), "PARITY_API_PORT": "25443"})
    write_state(moved.settings.state_dir, running_state(moved))
    target = Target.from_environment({"PARITY_ROOT": str(checkout)})
    assert (target.api_url, target.driver) == ("https://localhost:25443", "process")


def test_without_a_process_stack_the_addresses_are_those_of_compose(checkout: Path) -> None:
    target = Target.from_environment({"PARITY_ROOT": str(checkout)})
    assert (target.r2_url, target.driver) == ("https://r2.localhost:9000", "docker")


def test_a_url_that_is_set_goes_before_everything_else(checkout: Path) -> None:
    environ = {"PARITY_ROOT": str(checkout), "PARITY_API_URL": "https://api.fly.dev/", "PARITY_CA": "/trust/ca.pem"}
    target = Target.from_environment(environ)
    assert (target.api_url, target.ca) == ("https://api.fly.dev", Path("/trust/ca.pem"))


def test_the_driver_that_is_set_goes_before_what_runs(checkout: Path, project: Project) -> None:
    write_state(project.settings.state_dir, running_state(project))
    assert local_project({"PARITY_ROOT": str(checkout), "PARITY_DRIVER": "docker"})[1] == "docker"


def test_only_a_target_that_parity_toml_names_is_live(project: Project) -> None:
    assert Target.live(project, "staging").admin_url is None
    with pytest.raises(ConfigError, match=r"(?s)'production'.*staging"):
        Target.live(project, "production")


def test_the_exports_survive_a_shell(project: Project) -> None:
    text = shell_exports(tool_environment(project, Target.local(project, "process"), r2_resolves=True))
    assert "export AWS_SECRET_ACCESS_KEY='it'\"'\"'s'\n" in text
    assert "export AWS_REGION=auto\n" in text
    assert "export AWS_REQUEST_CHECKSUM_CALCULATION=when_required\n" in text


def test_tools_use_localhost_where_the_name_of_r2_does_not_resolve(project: Project) -> None:
    target = Target.from_environment({"PARITY_ROOT": str(project.settings.root)})
    assert tool_environment(project, target, r2_resolves=False)["AWS_ENDPOINT_URL_S3"] == "https://localhost:9000"


def test_the_browser_takes_one_certificate_and_maps_the_public_names(project: Project) -> None:
    command = browser_command("chromium", project, "HASH", Path("/p"))
    rules = next(word for word in command if word.startswith("--host-resolver-rules="))
    assert "MAP page.example:443 127.0.0.1:5443" in rules
    assert "MAP api.fly.dev:443 127.0.0.1:8443" in rules
    assert "--ignore-certificate-errors-spki-list=HASH" in command
    assert "--ignore-certificate-errors" not in command
    assert command[-1] == "https://page.example"


def test_on_the_host_a_container_s_variables_are_those_that_compose_gives_it(tmp_path: Path) -> None:
    """`parity check` on the host judges a Machine's environment."""
    given = yaml.safe_load((HOME / "src/parity/compose.yaml").read_text())["x-settings"]
    stubs = INSIDE["PARITY_STUB_PORT"]
    assert {**{name: given.get(name) for name in INSIDE}, "PARITY_STUB_PORT": stubs} == INSIDE
    environ = with_driver({"PARITY_ROOT": str(tmp_path), "PARITY_PORT_OFFSET": "100"}, "docker")
    moved = load_settings(environ)
    assert (moved.ca_path, moved.service_host, str(moved.stub_port)) == ("/trust/ca.pem", "fly", stubs)
