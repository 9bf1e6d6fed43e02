"""What the stand-in reads from the environment and the project."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest
from tests.parity.r2.conftest import SETTINGS as SERVED

from parity.config.errors import ConfigError
from parity.config.project import Project
from parity.r2.service import running
from parity.r2.settings import (
    Behaviour,
    Upstream,
    behaviour_to_json,
    change_behaviour,
    load_r2_settings,
)

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.load({"PARITY_ROOT": str(ROOT), "PARITY_STATE_DIR": str(tmp_path)})


def test_the_project_gives_bucket_token_policy_and_folder(project: Project, tmp_path: Path) -> None:
    found = load_r2_settings(project, {})
    assert found.bucket == project.bucket
    assert [(token.access_key, token.admin) for token in found.tokens] == [(project.secrets["R2_ACCESS_KEY_ID"], False)]
    assert found.policy
    assert found.state == tmp_path / "r2"
    assert found.upstream is None
    assert found.behaviour == Behaviour()


def test_an_admin_token_is_added_when_it_is_given(project: Project) -> None:
    found = load_r2_settings(project, {"PARITY_R2_ADMIN_ACCESS_KEY_ID": "a", "PARITY_R2_ADMIN_SECRET_ACCESS_KEY": "b"})
    assert [token.admin for token in found.tokens] == [False, True]


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"PARITY_R2_STORE": "disk"}, "PARITY_R2_STORE"),
        ({"PARITY_R2_STORE": "s3"}, "PARITY_R2_UPSTREAM_URL"),
        ({"PARITY_R2_UPSTREAM_URL": "host:1"}, "PARITY_R2_UPSTREAM_URL"),
        ({"PARITY_R2_WRITE_WINDOW": "long"}, "PARITY_R2_WRITE_WINDOW"),
        ({"PARITY_R2_LATENCY": "slow"}, "PARITY_R2_LATENCY"),
        ({"PARITY_R2_RULES_OFF": "1,99"}, "PARITY_R2_RULES_OFF"),
        ({"PARITY_R2_SAVE_SECONDS": "often"}, "PARITY_R2_SAVE_SECONDS"),
        ({"PARITY_R2_SAVE_SECONDS": "-1"}, "PARITY_R2_SAVE_SECONDS"),
        ({"PARITY_R2_ADMIN_ACCESS_KEY_ID": "a"}, "PARITY_R2_ADMIN_ACCESS_KEY_ID"),
    ],
)
def test_a_wrong_setting_is_named(project: Project, environment: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_r2_settings(project, environment)
    assert refused.value.where == named


async def test_an_upstream_that_does_not_answer_is_named_with_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # without listen(): no other program can take the port now
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match="--profile durable") as refused:
            async with running(replace(SERVED, upstream=Upstream(url, "a", "b", "us-east-1"))):
                pass
    assert refused.value.where == "PARITY_R2_UPSTREAM_URL"
    assert url in refused.value.problem


def test_behaviour_is_told_as_it_is_changed() -> None:
    changes = {"write_window": "0.3-1.4", "latency": "realistic", "unsigned_streaming": "accept", "rules_off": "1,16"}
    changes["error_codes"] = "captured"
    assert behaviour_to_json(change_behaviour(Behaviour(), changes)) == behaviour_to_json(Behaviour()) | changes
    with pytest.raises(ValueError, match="latency cannot be 5"):
        change_behaviour(Behaviour(), {"latency": 5})


def test_a_misspelt_setting_is_refused_with_the_nearest(project: Project) -> None:
    with pytest.raises(ConfigError, match="did you mean PARITY_R2_LATENCY"):
        load_r2_settings(project, {"PARITY_R2_LATNCY": "off"})
