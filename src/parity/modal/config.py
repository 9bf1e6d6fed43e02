"""Configuration of the control plane and the worker: addresses from the settings, tokens and secrets from the
project."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from parity.config.errors import ConfigError, Mistakes
from parity.config.parity_toml import Gpu
from parity.config.project import Project
from parity.config.secrets_env import OPEN, interpolate


@dataclass(frozen=True)
class ModalConfig:
    """Addresses, the one token that is accepted, and the named secrets that functions may ask for."""

    bind: str
    host: str
    port: int
    blob_port: int
    admin_port: int
    state_dir: Path
    app_name: str
    token_id: str
    token_secret: str
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    max_containers: int = 4  # of one function, unless the function says less

    @property
    def url(self) -> str:
        """What clients set as MODAL_SERVER_URL."""
        return f"http://{self.host}:{self.port}"

    def blob_url(self, host: str) -> str:
        """The base URL for large payloads, with the host name by which the caller reached the control plane."""
        return f"http://{host or self.host}:{self.blob_port}"

    @classmethod
    def from_project(cls, project: Project) -> ModalConfig:
        """Raises ConfigError for a token or R2 value that the stand-in's secrets lack."""
        settings, gpu = project.settings, _gpu(project)
        return cls(
            bind=settings.bind,
            host=settings.modal_host,
            port=settings.modal_port,
            blob_port=settings.modal_blob_port,
            admin_port=settings.modal_admin_port,
            state_dir=settings.state_dir / "modal",
            app_name=gpu.app,
            token_id=project.required("MODAL_TOKEN_ID"),
            token_secret=project.required("MODAL_TOKEN_SECRET"),
            secrets=modal_secrets(project),
        )


@dataclass(frozen=True)
class WorkerConfig:
    """What the worker deploys, where to, and what every container inherits."""

    url: str
    blob_url: str
    token_id: str
    token_secret: str
    app_name: str
    entry: Path
    pythonpath: tuple[Path, ...]
    work_dir: Path
    trust: Path  # ca.pem, handed to boto3 in the containers as AWS_CA_BUNDLE
    debug_listen: tuple[str, int] = ("127.0.0.1", 0)  # where the functions' debugger connects
    python: str = sys.executable
    requirements: Path | None = None

    @classmethod
    def from_project(cls, project: Project) -> WorkerConfig:
        """Raises ConfigError for a token that the stand-in's secrets lack."""
        settings, gpu = project.settings, _gpu(project)
        return cls(
            url=settings.modal_url,
            blob_url=f"http://{settings.modal_host}:{settings.modal_blob_port}",
            token_id=project.required("MODAL_TOKEN_ID"),
            token_secret=project.required("MODAL_TOKEN_SECRET"),
            app_name=gpu.app,
            entry=project.path(gpu.entry),
            pythonpath=tuple(project.path(path) for path in gpu.pythonpath),
            work_dir=settings.state_dir / "worker",
            trust=settings.trust_dir / "ca.pem",
            debug_listen=(settings.bind, settings.gpu_debug_port),
            requirements=project.path(gpu.requirements) if gpu.requirements else None,
        )


def _gpu(project: Project) -> Gpu:
    if project.parity.gpu is None:
        raise ConfigError("parity.toml: gpu", "there is no such table", "[gpu] with app and entry")
    return project.parity.gpu


def modal_secrets(project: Project) -> dict[str, dict[str, str]]:
    """The Modal secrets of ``[gpu]`` by name: R2's credentials under their usual names for ``secret``, and each of
    ``[gpu.secrets]`` with its own variables. Raises ``ConfigError`` for a value that is missing."""
    gpu, found = _gpu(project), {}
    if gpu.secret:
        r2 = project.r2
        found[gpu.secret] = {
            "R2_ENDPOINT": r2.endpoint,
            "R2_ACCESS_KEY_ID": r2.access_key_id,
            "R2_SECRET_ACCESS_KEY": r2.secret_access_key,
            "R2_BUCKET": r2.bucket,
        }
    known = {**project.variables, **project.secrets}
    mistakes = Mistakes()
    for secret, values in gpu.secrets.items():
        found[secret] = {}
        for name, text in values.items():
            where = f"parity.toml: gpu.secrets.{secret}.{name}"
            with mistakes.collected():
                found[secret][name] = interpolate(text, known, where)
                if text == OPEN:
                    raise ConfigError(where, f"it is still {OPEN}", "a value, or ${NAME} of a secret of [secrets]")
    mistakes.raise_any()
    return found
