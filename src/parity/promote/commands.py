"""Builds every command of a promotion as an argument list. Nothing here runs a command.

The flags follow from how flyctl v0.4.87 behaves: ``--ha`` creates two Machines by default, ``--deploy-retries auto``
asks a feature-flag service, an image given by tag is not compared with the digest that was pushed, and only
``config validate --strict`` reports misspelt keys.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

Argv = tuple[str, ...]

REGISTRY = "registry.fly.io"


@dataclass(frozen=True)
class Gpu:
    """The GPU app. ``version`` is a hash of its sources; each deployment is tagged with it."""

    app: str
    entry: Path
    version: str
    pythonpath: str


@dataclass(frozen=True)
class Promotion:
    """An image and the app that it is promoted to.

    ``config`` is fly.toml. ``image`` is the checked image's name in the Docker engine. ``config_digest`` identifies the
    image; the pushed manifest must contain it.
    """

    target: str
    app: str
    config: Path
    image: str
    config_digest: str
    tag: str
    wait_timeout_s: int = 300
    deploy_retries: int = 2
    python: str = sys.executable
    registry: str = REGISTRY
    commit: str = ""
    version_url: str = ""  # reports the commit as JSON, under version_key; empty: the app reports none
    version_key: str = ""
    ca: Path | None = None  # what version_url's certificate is verified with; None: the system's roots
    live: bool = True  # whether the live-safe checks run against the target's URL
    optional_secrets: tuple[str, ...] = ()
    knows: Argv = ()  # this and way_back: commands inside the images, see [promotion] of parity.toml; empty: not asked
    way_back: Argv = ()
    gpu: Gpu | None = None
    cors_file: Path | None = None
    cors_bucket: str = ""
    cors_endpoint: str = ""

    @property
    def repository(self) -> str:
        return f"{self.registry}/{self.app}"

    @property
    def tagged(self) -> str:
        return f"{self.repository}:{self.tag}"


def validate_config(p: Promotion) -> Argv:
    return ("fly", "config", "validate", "--strict", "--app", p.app, "--config", str(p.config))


def list_secrets(p: Promotion) -> Argv:
    return ("fly", "secrets", "list", "--app", p.app, "--json")


def list_machines(p: Promotion) -> Argv:
    return ("fly", "machine", "list", "--app", p.app, "--json")


def list_releases(p: Promotion) -> Argv:
    return ("fly", "releases", "--app", p.app, "--image", "--json")


def save_config(p: Promotion, to: Path) -> Argv:
    """Writes the configuration of the current release to ``to``."""
    return ("fly", "config", "save", "--app", p.app, "--config", str(to), "--yes")


def start_machine(p: Promotion, machine_id: str) -> Argv:
    return ("fly", "machine", "start", machine_id, "--app", p.app)


def destroy_machine(p: Promotion, machine_id: str) -> Argv:
    return ("fly", "machine", "destroy", machine_id, "--force", "--app", p.app)


def log_in_to_registry(_: Promotion) -> Argv:
    return ("fly", "auth", "docker")


def tag_image(p: Promotion) -> Argv:
    return ("docker", "image", "tag", p.image, p.tagged)


def push_image(p: Promotion) -> Argv:
    return ("docker", "image", "push", p.tagged)


def ask_what_is_known(p: Promotion, before: str) -> Argv:
    """Prints which data formats the image ``before``, the rollback target, can read."""
    return _in_image(before, p.knows)


def ask_for_way_back(p: Promotion, known: str) -> Argv:
    """Exits with 0 if an image that reads ``known`` can be deployed again after this one."""
    return _in_image(p.image, tuple(known if word == "{knows}" else word for word in p.way_back))


def _in_image(image: str, argv: Argv) -> Argv:
    return ("docker", "run", "--rm", "--network", "none", "--entrypoint", argv[0], image, *argv[1:])


def read_manifest(_: Promotion, reference: str) -> Argv:
    """Prints the manifest's bytes as the registry holds them."""
    return ("docker", "buildx", "imagetools", "inspect", "--raw", reference)


def deploy(p: Promotion, reference: str, config: Path | None = None) -> Argv:
    return (
        "fly", "deploy",
        "--app", p.app,
        "--config", str(config or p.config),
        "--image", reference,
        "--ha=false",
        "--deploy-retries", str(p.deploy_retries),
        "--dns-checks=false",
        "--wait-timeout", f"{p.wait_timeout_s}s",
    )  # fmt: skip


def gpu_history(p: Promotion) -> Argv:
    """Deployments of the GPU app as JSON, the newest first."""
    assert p.gpu is not None
    return (p.python, "-m", "modal", "app", "history", p.gpu.app, "--json")


def gpu_deploy(p: Promotion) -> Argv:
    assert p.gpu is not None
    path = f"PYTHONPATH={p.gpu.pythonpath}"
    return ("env", path, p.python, "-m", "modal", "deploy", "--tag", p.gpu.version, str(p.gpu.entry))


def live_checks(p: Promotion) -> Argv:
    return (p.python, "-m", "parity.cli.main", "check", "--target", p.target)


def apply_bucket_cors(p: Promotion) -> Argv:
    """Sets the bucket's CORS policy from the file that the R2 stand-in uses too. Only with --bucket-cors."""
    return (
        "aws", "s3api", "put-bucket-cors",
        "--endpoint-url", p.cors_endpoint,
        "--bucket", p.cors_bucket,
        "--cors-configuration", f"file://{p.cors_file}",
    )  # fmt: skip
