from __future__ import annotations

from dataclasses import replace

import pytest

from parity.checks import environment, health, image
from parity.checks.environment import EnvironmentObservation
from parity.checks.health import HealthObservation, StatusObservation
from parity.checks.image import ImageObservation

HEALTHY = HealthObservation(1, {"m1": [("passing", "200 OK")]}, 200, "/api/health")


def test_a_machine_whose_check_passes_is_fine() -> None:
    assert health.judge_health(HEALTHY) == []


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (replace(HEALTHY, machines={"m1": [("critical", "301 Moved Permanently")]}), "301 Moved"),
        (replace(HEALTHY, machines={"m1": [("waiting", "")]}), "waiting"),
        (replace(HEALTHY, machines={}), "no Machine"),
        (replace(HEALTHY, machines={"m1": []}), "0 checks"),
        (replace(HEALTHY, configured=0, machines={"m1": []}), "no health check"),
        (replace(HEALTHY, public=502), "502"),
    ],
)
def test_a_health_check_that_fly_would_not_accept_is_caught(seen: HealthObservation, word: str) -> None:
    assert any(word in reason for reason in health.judge_health(seen))


REACHABLE = {"enabled": True, "reachable": True}
STATUS = StatusObservation(
    200, {"app_env": "staging", "app": "demo", "r2": REACHABLE, "modal": REACHABLE}, "staging", "demo"
)


def test_a_status_that_says_staging_and_reaches_everything_is_fine() -> None:
    assert health.judge_status(STATUS) == []


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"r2": {"enabled": True, "reachable": False}}, "r2"),
        ({"modal": {"enabled": False, "reachable": None}}, "modal"),
        ({"app_env": "dev"}, "'dev'"),
        ({"app": None}, "None"),
    ],
)
def test_a_status_of_another_environment_or_without_a_service_is_caught(body: dict[str, object], word: str) -> None:
    assert any(word in reason for reason in health.judge_status(replace(STATUS, body={**STATUS.body, **body})))


ENVIRONMENT = EnvironmentObservation(
    {"m1": {"APP_ENV": "staging", "R2_SECRET": "s", "AWS_CA_BUNDLE": "/ca", "FLY_REGION": "lax"}},
    {"APP_ENV": "staging"},
    {"R2_SECRET": "s"},
    {"AWS_CA_BUNDLE": "/ca"},
)


def test_an_environment_of_declared_variables_is_fine() -> None:
    assert environment.judge_environment(ENVIRONMENT) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [({"ONLY_HERE": "1"}, "ONLY_HERE"), ({"APP_ENV": "dev"}, "'dev'"), ({"R2_SECRET": "x"}, "another value")],
)
def test_a_variable_that_fly_would_not_have_is_caught(change: dict[str, str], word: str) -> None:
    seen = replace(ENVIRONMENT, machines={"m1": {**ENVIRONMENT.machines["m1"], **change}})
    assert any(word in reason for reason in environment.judge_environment(seen))


def test_a_missing_variable_is_caught() -> None:
    assert "m1: R2_SECRET is missing" in environment.judge_environment(replace(ENVIRONMENT, machines={"m1": {}}))


def test_a_wrong_secret_is_named_without_its_value() -> None:
    seen = replace(ENVIRONMENT, machines={"m1": {**ENVIRONMENT.machines["m1"], "R2_SECRET": "leaked"}})
    assert not any("leaked" in reason for reason in environment.judge_environment(seen))


IMAGE = ImageObservation(
    paths=["/app/app/main.py", "/app/reel/payloads.py", "/usr/local/bin/ffmpeg", "/.dockerenv"],
    user="10001:10001",
    platform="linux/amd64",
    size=240_000_000,
    base_size=118_000_000,
    env=["PATH=/usr/bin", "GIT_COMMIT=abc"],
    labels={"org.opencontainers.image.revision": "abc"},
    secrets={"R2_SECRET_ACCESS_KEY": "s3cret"},
)


def test_an_image_of_the_product_alone_is_fine() -> None:
    assert image.judge(IMAGE) == []


@pytest.mark.parametrize(
    "path",
    [
        "/app/.env", "/app/.env.local", "/app/tests/test_main.py", "/app/app/conftest.py", "/app/ca.pem", "/ca.key",
        "/app/.git/HEAD", "/app/parity/cli.py", "/app/standin.secrets.env", "/app/user_data/u/database.sqlite",
        "/root/.modal.toml", "/app/Dockerfile",
    ],
)  # fmt: skip
def test_a_file_that_an_image_must_not_have_is_caught(path: str) -> None:
    assert image.judge(replace(IMAGE, paths=[*IMAGE.paths, path])) == [f"{path} is in the image"]


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (replace(IMAGE, user=""), "root"),
        (replace(IMAGE, user="0:0"), "0:0"),
        (replace(IMAGE, platform="linux/arm64"), "arm64"),
        (replace(IMAGE, size=1_320_000_000), "1202 MB"),
        (replace(IMAGE, env=["TOKEN=s3cret"]), "TOKEN"),
        (replace(IMAGE, env=["R2_SECRET_ACCESS_KEY=other"]), "R2_SECRET_ACCESS_KEY"),
        (replace(IMAGE, labels={}), "commit"),
    ],
)
def test_an_image_with_a_wrong_configuration_is_caught(seen: ImageObservation, word: str) -> None:
    assert any(word in reason for reason in image.judge(seen))


def test_no_reason_prints_a_secret() -> None:
    assert not any("s3cret" in reason for reason in image.judge(replace(IMAGE, env=["TOKEN=s3cret"])))
