from __future__ import annotations

import json
from pathlib import Path

import pytest

from parity.config.fly_toml import FlyConfig
from parity.promote import machines, manifest, preflight
from parity.promote.machines import AfterFailure, Machine, UnreadableAnswer
from parity.promote.shell import private_fly_environment, require_tools

OLD, NEW, OTHER = ("sha256:" + digit * 64 for digit in "123")
REPOSITORY = "registry.fly.io/demo"


def at(digest: str, state: str = "started", status: str = "passing", machine_id: str = "m1") -> Machine:
    return Machine(machine_id, state, f"{REPOSITORY}@{digest}", {"http": status})


def test_a_machine_that_runs_another_digest_is_named() -> None:
    assert machines.not_running([at(NEW), at(OLD, machine_id="m2")], NEW) == [f"m2 runs {OLD}, not {NEW}"]


def test_an_app_without_machines_runs_nothing() -> None:
    assert machines.not_running([], NEW) == ["the app has no Machine"]


def test_a_started_machine_with_a_critical_check_is_not_healthy() -> None:
    assert machines.not_healthy([at(NEW, status="critical")])


@pytest.mark.parametrize(
    ("now", "previous", "expected"),
    [
        ([at(OLD)], f"{REPOSITORY}@{OLD}", AfterFailure.UNTOUCHED),
        ([at(NEW, status="critical")], f"{REPOSITORY}@{OLD}", AfterFailure.ROLL_BACK),
        ([at(OLD, state="replacing")], f"{REPOSITORY}@{OLD}", AfterFailure.ROLL_BACK),
        ([], f"{REPOSITORY}@{OLD}", AfterFailure.ROLL_BACK),
        ([at(NEW)], None, AfterFailure.NOTHING_BEFORE),
        ([at(NEW)], f"{REPOSITORY}@{NEW}", AfterFailure.NOTHING_BEFORE),
    ],
)
def test_what_a_failed_deploy_left_decides_what_to_do(
    now: list[Machine], previous: str | None, expected: AfterFailure
) -> None:
    assert machines.after_failed_deploy(now, previous, NEW) is expected


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ([at(OTHER)], AfterFailure.REPLACED),
        ([at(OTHER), at(OLD, machine_id="m2")], AfterFailure.REPLACED),
        ([at(OTHER), at(NEW, machine_id="m2")], AfterFailure.ROLL_BACK),
    ],
)
def test_the_image_of_another_promotion_is_left_in_force(now: list[Machine], expected: AfterFailure) -> None:
    assert machines.after_failed_deploy(now, f"{REPOSITORY}@{OLD}", NEW, {OTHER}) is expected


@pytest.mark.parametrize("text", ["", "[{}]", '[{"id": "m1"}]', "null", '{"error": "x"}'])
def test_an_answer_that_is_no_list_of_machines_is_refused(text: str) -> None:
    with pytest.raises(UnreadableAnswer, match="fly machine list"):
        machines.parse_machines(text)


def test_an_index_with_two_amd64_images_is_refused() -> None:
    entry = {"digest": OLD, "platform": {"os": "linux", "architecture": "amd64"}}
    with pytest.raises(UnreadableAnswer, match="2 images"):
        manifest.read(json.dumps({"manifests": [entry, entry]}).encode())


def test_secrets_are_compared_by_name_alone_and_values_never_show() -> None:
    names = preflight.parse_secret_names('[{"name": "A", "digest": "feed", "status": "Deployed"}]')
    problems = preflight.secret_differences("demo", ["A", "B"], names, "secrets.env")
    assert len(problems) == 1
    assert "Fly lacks B" in problems[0]
    assert "feed" not in problems[0]


def test_an_app_without_secrets_lists_null() -> None:
    assert preflight.parse_secret_names("null") == {}


def fly(**service: object) -> FlyConfig:
    checks = [{"path": "/api/health"}]
    return FlyConfig.model_validate({"app": "demo", "http_service": {"checks": checks, **service}})


def test_a_strategy_that_waits_for_nothing_is_refused() -> None:
    immediate = FlyConfig.model_validate(fly().model_dump(by_alias=True) | {"deploy": {"strategy": "immediate"}})
    assert "immediate" in preflight.config_problems(immediate)[0]


def test_a_service_without_health_checks_is_refused() -> None:
    assert "http_service.checks" in preflight.config_problems(fly(checks=[]))[0]


def test_the_login_goes_along_into_flyctls_private_folder(tmp_path: Path) -> None:
    (tmp_path / ".fly").mkdir()
    (tmp_path / ".fly" / "config.yml").write_text("access_token: x")
    with private_fly_environment({"HOME": str(tmp_path)}, tmp_path / "state") as environ:
        folder = Path(environ["FLY_CONFIG_DIR"])
        assert (folder / "config.yml").read_text() == "access_token: x"
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


def test_a_folder_that_a_killed_promotion_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / "state" / "flyctl-left"
    left.mkdir(parents=True)
    (left / "config.yml").write_text("access_token: x")
    with private_fly_environment({"HOME": str(tmp_path)}, tmp_path / "state"):
        assert not left.exists()


def test_a_missing_flyctl_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"fly: this command is not on PATH\n.*install flyctl"):
        require_tools(("fly",), {"PATH": str(tmp_path)})
