from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from parity.promote.commands import Promotion
from parity.promote.plan import plan_lines, promotion_plan

DIGEST = "sha256:" + "c" * 64
PROMOTION = Promotion("staging", "demo", Path("/co/fly.toml"), "demo-image", DIGEST, "abc-ccc")


def test_the_plan_is_exactly_these_commands() -> None:
    commands = [" ".join(step.argv) for step in promotion_plan(PROMOTION)]
    flags = "--ha=false --deploy-retries 2 --dns-checks=false --wait-timeout 300s"
    assert commands == [
        "fly config validate --strict --app demo --config /co/fly.toml",
        "fly secrets list --app demo --json",
        "fly machine list --app demo --json",
        "fly auth docker",
        "docker image tag demo-image registry.fly.io/demo:abc-ccc",
        "docker image push registry.fly.io/demo:abc-ccc",
        "docker buildx imagetools inspect --raw registry.fly.io/demo:abc-ccc",
        "fly machine start <id of each sleeping Machine> --app demo",
        "fly deploy --app demo --config /co/fly.toml --image registry.fly.io/demo@<digest of the pushed manifest> "
        + flags,
        "fly machine start <id of each sleeping Machine> --app demo",
        "fly machine list --app demo --json",
        f"{sys.executable} -m parity.cli.main check --target staging",
        f"fly deploy --app demo --config /co/fly.toml --image registry.fly.io/demo@<digest that ran before> {flags}",
        "fly machine list --app demo --json",
    ]


def test_a_deploy_never_names_an_image_by_tag() -> None:
    for step in promotion_plan(PROMOTION):
        if step.argv[:2] == ("fly", "deploy"):
            assert "@" in step.argv[step.argv.index("--image") + 1]


def test_the_buckets_cors_file_is_applied_only_when_asked_for() -> None:
    asked = replace(PROMOTION, cors_file=Path("/co/cors.json"), cors_bucket="b", cors_endpoint="https://r2.example")
    put = [step.argv for step in promotion_plan(asked) if step.argv[0] == "aws"]
    assert put == [
        (
            "aws", "s3api", "put-bucket-cors", "--endpoint-url", "https://r2.example", "--bucket", "b",
            "--cors-configuration", "file:///co/cors.json",
        )
    ]  # fmt: skip
    assert not [step for step in promotion_plan(PROMOTION) if step.argv[0] == "aws"]


def test_a_conditional_step_says_its_condition() -> None:
    lines = plan_lines(promotion_plan(PROMOTION))
    assert any("roll back (only when the deploy or what follows it fails)" in line for line in lines)
