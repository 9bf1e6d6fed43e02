"""The files under ``deploy/`` that a real platform reads too."""

from __future__ import annotations

import json
import re
from pathlib import Path

from parity.config.fly_toml import load_fly_config
from parity.config.secrets_env import load_env_file

STAGING = "https://reel-ballers-staging.pages.dev"
VARIABLES = {"PARITY_R2_URL": "https://r2.localhost:9000"}


def test_fly_staging_toml_has_the_environment_of_the_specification(root: Path) -> None:
    assert load_fly_config(root / "deploy/fly.staging.toml").env == {
        "ENV": "staging",
        "APP_ENV": "staging",
        "DEBUG": "false",
        "CLEAR_PENDING_JOBS_ON_STARTUP": "false",
        "CORS_ORIGINS": STAGING,
    }


def test_a_staging_machine_scales_to_zero_with_512_mb_and_a_health_check(root: Path) -> None:
    config = load_fly_config(root / "deploy/fly.staging.toml")
    service = config.service
    assert (service.auto_stop_machines, service.auto_start_machines, service.min_machines_running) == ("stop", True, 0)
    assert (config.machine.memory_mb, config.machine.cpus, config.machine.cpu_kind) == (512, 1, "shared")
    assert [(check.method, check.path) for check in service.checks] == [("GET", "/api/health")]


def test_the_dockerfile_that_fly_would_build_is_the_one_that_is_checked(root: Path) -> None:
    text = (root / "deploy/fly.staging.toml").read_text()
    found = re.search(r'dockerfile = "([^"]+)"', text)
    assert found
    assert (root / "deploy" / found[1]).resolve() == root / "Dockerfile"


def test_the_stand_in_secrets_are_exactly_those_that_fly_holds(root: Path) -> None:
    assert set(load_env_file(root / "deploy/standin.secrets.env", VARIABLES)) == {
        "R2_ENABLED", "R2_ENDPOINT", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET",
        "MODAL_ENABLED", "MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET",
    }  # fmt: skip


def test_the_bucket_s_cors_policy_lets_the_frontend_upload_in_parts(root: Path) -> None:
    (rule,) = json.loads((root / "deploy/r2.cors.json").read_text())["CORSRules"]
    assert set(rule["AllowedOrigins"]) == {STAGING, "http://localhost:5173", "http://localhost:3000"}
    assert {"GET", "PUT", "HEAD"} == set(rule["AllowedMethods"])
    assert "ETag" in rule["ExposeHeaders"]
    assert "Content-Type" in rule["AllowedHeaders"]
