"""What the control plane and the worker are told: addresses from the settings, tokens and secrets from the project."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from parity.config.errors import ConfigError
from parity.config.project import Project

_R2_NAMES = ("R2_ENDPOINT", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET")


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
        """Where large payloads go, under the name by which the caller reached the control plane."""
        return f"http://{host or self.host}:{self.blob_port}"

    @classmethod
    def from_project(cls, project: Project) -> ModalConfig:
        """Raises ConfigError for a token or R2 value that the stand-in's secrets lack."""
        settings, where = project.settings, project.parity.secrets.file
        return cls(
            bind=settings.bind,
            host=settings.modal_host,
            port=settings.modal_port,
            blob_port=settings.modal_blob_port,
            admin_port=settings.modal_admin_port,
            state_dir=settings.state_dir / "modal",
            app_name=project.parity.gpu.app,
            token_id=_value(project, "MODAL_TOKEN_ID", where),
            token_secret=_value(project, "MODAL_TOKEN_SECRET", where),
            secrets={project.parity.gpu.secret: {name: _value(project, name, where) for name in _R2_NAMES}},
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
    python: str = sys.executable

    @classmethod
    def from_project(cls, project: Project) -> WorkerConfig:
        """Raises ConfigError for a token that the stand-in's secrets lack."""
        settings, where = project.settings, project.parity.secrets.file
        return cls(
            url=settings.modal_url,
            blob_url=f"http://{settings.modal_host}:{settings.modal_blob_port}",
            token_id=_value(project, "MODAL_TOKEN_ID", where),
            token_secret=_value(project, "MODAL_TOKEN_SECRET", where),
            app_name=project.parity.gpu.app,
            entry=project.path(project.parity.gpu.entry),
            pythonpath=tuple(project.path(path) for path in project.parity.gpu.pythonpath),
            work_dir=settings.state_dir / "worker",
            trust=settings.trust_dir / "ca.pem",
        )


def _value(project: Project, name: str, where: str) -> str:
    value = project.secrets.get(name)
    if not value:
        raise ConfigError(where, f"{name} is missing", f"{name}=value", "add the line")
    return value
