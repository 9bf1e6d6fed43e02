from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from parity.promote.commands import Argv, Gpu, Promotion
from parity.promote.journal import Journal
from parity.promote.run import Patience, Run
from parity.promote.runner import ROLL_BACK, plan_lines, steps
from parity.promote.shell import Shell

DIGEST = "sha256:" + "c" * 64
PROMOTION = Promotion("staging", "demo", Path("/co/fly.toml"), "demo-image", DIGEST, "abc-ccc")


def dry(promotion: Promotion) -> Run:
    return Run(promotion, Shell(os.environ, print), Journal(Path("/nowhere")), Patience())


def commands(promotion: Promotion) -> list[Argv]:
    run = dry(promotion)
    return [argv for step in (*steps(promotion), *ROLL_BACK) for argv in step.commands(run)]


def test_the_plan_is_exactly_these_commands() -> None:
    flags = "--ha=false --deploy-retries 2 --dns-checks=false --wait-timeout 300s"
    pushed, back = "<digest of the pushed manifest>", "<digest of the last good image>"
    saved = "<configuration of the last good image>"
    assert [" ".join(argv) for argv in commands(PROMOTION)] == [
        "fly config validate --strict --app demo --config /co/fly.toml",
        "fly secrets list --app demo --json",
        "fly machine list --app demo --json",
        "fly releases --app demo --image --json",
        f"fly config save --app demo --config {saved} --yes",
        "fly auth docker",
        "docker image tag demo-image registry.fly.io/demo:abc-ccc",
        "docker image push registry.fly.io/demo:abc-ccc",
        "docker buildx imagetools inspect --raw registry.fly.io/demo:abc-ccc",
        "fly machine start <id of each sleeping Machine> --app demo",
        "fly machine list --app demo --json",
        f"fly deploy --app demo --config /co/fly.toml --image registry.fly.io/demo@{pushed} {flags}",
        "fly machine start <id of each sleeping Machine> --app demo",
        "fly machine list --app demo --json",
        f"{sys.executable} -m parity.cli.main check --target staging",
        f"fly deploy --app demo --config {saved} --image registry.fly.io/demo@{back} {flags}",
        "fly machine list --app demo --json",
    ]


def test_a_deploy_never_names_an_image_by_tag() -> None:
    deploys = [argv for argv in commands(PROMOTION) if argv[:2] == ("fly", "deploy")]
    assert len(deploys) == 2
    assert all("@" in argv[argv.index("--image") + 1] for argv in deploys)


def test_the_buckets_cors_file_is_applied_only_when_asked_for() -> None:
    asked = replace(PROMOTION, cors_file=Path("/co/cors.json"), cors_bucket="b", cors_endpoint="https://r2.example")
    put = [argv for argv in commands(asked) if argv[0] == "aws"]
    assert put == [
        (
            "aws", "s3api", "put-bucket-cors", "--endpoint-url", "https://r2.example", "--bucket", "b",
            "--cors-configuration", "file:///co/cors.json",
        )
    ]  # fmt: skip
    assert not [argv for argv in commands(PROMOTION) if argv[0] == "aws"]


def test_the_gpu_functions_are_compared_and_deployed_before_the_app() -> None:
    gpu = replace(PROMOTION, python="py", gpu=Gpu("video", Path("/co/gpu.py"), "v1", "/co/src"))
    lines = [" ".join(argv) for argv in commands(gpu)]
    history = lines.index("py -m modal app history video --json")
    deployed = lines.index("env PYTHONPATH=/co/src py -m modal deploy --tag v1 /co/gpu.py")
    assert history < deployed < next(n for n, line in enumerate(lines) if line.startswith("fly deploy"))


def test_the_registry_is_the_one_that_flyctl_uses() -> None:
    other = replace(PROMOTION, registry="localhost:5000")
    assert ("docker", "image", "push", "localhost:5000/demo:abc-ccc") in commands(other)


def test_a_conditional_step_says_its_condition() -> None:
    lines = plan_lines(dry(PROMOTION))
    assert any("(only when the deploy or what follows it fails)" in line for line in lines)
    assert any("(only when a Machine sleeps)" in line for line in lines)
