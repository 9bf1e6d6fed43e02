"""Settings of image builds, of programs that checks use, and of this repository's scripts.

No server reads them. They are in tables like all other settings, so that they are documented and a misspelt name is
refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from parity.config.variables import PATH, TEXT, choice, integer, setting


@dataclass(frozen=True, kw_only=True)
class BuildSettings:
    """What compose.yaml hands to image builds and takes from the engine."""

    base_image: str = setting("PARITY_BASE_IMAGE", TEXT, "python:3.11-slim-bookworm", "base image of every Dockerfile")
    ca_file: str = setting(
        "PARITY_CA_FILE",
        PATH,
        "",
        "PEM bundle that builds trust, for networks that intercept TLS. It is in no image. If it is not set, `make up` "
        "and the dev container use PIP_CERT, SSL_CERT_FILE or REQUESTS_CA_BUNDLE",
    )
    docker_socket: str = setting(
        "PARITY_DOCKER_SOCKET",
        PATH,
        "/var/run/docker.sock",
        "path of the engine's socket on its host, for containers that use the engine; a rootless engine has another",
    )
    commit: str = setting("GIT_COMMIT", TEXT, "unknown", "commit in the images' label; `make up` asks git")


@dataclass(frozen=True, kw_only=True)
class ToolSettings:
    """How commands run programs beside the harness."""

    hands: str = setting(
        "PARITY_HANDS",
        choice("local", "pipe"),
        "local",
        "pipe: run commands of the developer's machine through scripts/stack, which started the harness image",
        inside=True,
    )
    chromium: str = setting(
        "PARITY_CHROMIUM", PATH, "", "path of Chromium for browser checks and `parity browser`; empty: from PATH"
    )


@dataclass(frozen=True, kw_only=True)
class ScriptSettings:
    """Read by scripts/ and .ci/ of this repository, before there is a Python environment."""

    test_project: str = setting("PARITY_TEST_PROJECT", TEXT, "", "Compose project of `make test`; empty: FOLDER-test")
    test_port_offset: int = setting(
        "PARITY_TEST_PORT_OFFSET",
        integer(0, 55_000),
        "20000",
        "port offset of `make test`; PARITY_PORT_OFFSET is added to the default",
    )
    test_cache: str = setting(
        "PARITY_TEST_CACHE",
        PATH,
        "~/.cache/parity",
        "cache folder: the CLI of `make devcontainer-test`, moto_server of `make bench`",
    )
    engine_dir: str = setting(
        "PARITY_ENGINE_DIR", PATH, "/opt/engine", ".ci/engine: folder of the programs and cached packages"
    )
    engine_data: str = setting(
        "PARITY_ENGINE_DATA", PATH, "/var/lib/docker", ".ci/engine: folder of images, containers and volumes"
    )
    engine_run: str = setting("PARITY_ENGINE_RUN", PATH, "/run/engine", ".ci/engine: folder of pid files and logs")
    engine_socket: str = setting(
        "PARITY_ENGINE_SOCKET", PATH, "/var/run/docker.sock", ".ci/engine: socket on which the engine listens"
    )
    engine_launch: str = setting(
        "PARITY_ENGINE_LAUNCH",
        TEXT,
        "",
        ".ci/engine: command that runs dockerd, such as `unshare -n` for a trial beside another engine",
    )
