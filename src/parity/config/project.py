"""A checkout's configuration, read once: settings, ``parity.toml``, ``fly.toml``, a Machine's environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from parity.config.errors import ConfigError
from parity.config.fly_toml import FlyConfig, load_fly_config
from parity.config.parity_toml import ParityConfig, load_parity_config
from parity.config.secrets_env import interpolate, load_env_file
from parity.config.settings import HarnessSettings, load_settings


@dataclass(frozen=True)
class Project:
    """Everything that is configured; ``secrets`` and ``standin_env`` have their references filled in."""

    settings: HarnessSettings
    parity: ParityConfig
    fly: FlyConfig
    secrets: dict[str, str]
    standin_env: dict[str, str]

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Project:
        """Read ``parity.toml`` of ``PARITY_ROOT`` and what it names. Raises ``ConfigError``."""
        settings = load_settings(environ)
        path = settings.root / "parity.toml"
        parity = load_parity_config(path)
        fly = load_fly_config(settings.root / parity.app.fly_config)
        variables = settings.variables()
        secrets = load_env_file(settings.root / parity.secrets.file, variables)
        extra = {
            name: interpolate(value, variables, f"{path}: standin.env.{name}")
            for name, value in parity.standin.env.items()
        }
        for name in extra:
            if name in fly.env or name in secrets:
                raise ConfigError(
                    f"{path}: standin.env.{name}",
                    "would hide a value that Fly has",
                    "only names that neither fly.toml nor the secrets set",
                )
        return cls(settings, parity, fly, secrets, extra)

    def path(self, relative: str) -> Path:
        """A path of ``parity.toml``, absolute."""
        return self.settings.root / relative

    @property
    def api_hostname(self) -> str:
        """The app's public name on Fly."""
        return f"{self.fly.app}.fly.dev"

    @property
    def frontend_hostname(self) -> str:
        return urlsplit(self.parity.app.frontend_origin).hostname or ""

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """Every name under which a stand-in is reached by TLS; R2 also by bucket: ``{bucket}.{host}``."""
        names = ["localhost", "127.0.0.1", "::1", "fly", "frontend", "r2", "r2.localhost", self.settings.r2_host]
        buckets = [f"{self._bucket}.{self.settings.r2_host}"] if self._bucket else []
        return tuple(dict.fromkeys([*names, *buckets, self.api_hostname, self.frontend_hostname]))

    @property
    def _bucket(self) -> str:
        return self.secrets.get("R2_BUCKET") or self.fly.env.get("R2_BUCKET", "")

    @property
    def bucket(self) -> str:
        """The bucket's name. Raises ``ConfigError`` when the stand-in's secrets have none."""
        if not self._bucket:
            raise ConfigError(self.parity.secrets.file, "R2_BUCKET is missing", "R2_BUCKET=name")
        return self._bucket


def machine_environment(project: Project) -> dict[str, str]:
    """What a Machine gets beside Fly's own variables: ``[env]``, then the secrets (they win, as on Fly), then
    ``[standin.env]``, the declared differences."""
    return {**project.fly.env, **project.secrets, **project.standin_env}
