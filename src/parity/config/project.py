"""Loads a repository's configuration: settings, ``parity.toml``, ``fly.toml`` and a Machine's environment."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from parity.config.errors import ConfigError, Mistakes, nearest
from parity.config.fly_toml import FlyConfig, load_fly_config
from parity.config.parity_toml import ParityConfig, Process, SecretNames, load_parity_config, missing_paths
from parity.config.secrets_env import interpolate, load_env_file
from parity.config.settings import HarnessSettings, load_settings
from parity.config.toml_file import read_toml

PARITY_TOML = "parity.toml"


@dataclass(frozen=True)
class R2Access:
    """The endpoint, credentials and bucket of the app's R2, from the variables that the app uses for them."""

    endpoint: str
    bucket: str
    access_key_id: str
    secret_access_key: str


@dataclass(frozen=True)
class Project:
    """The whole configuration. References in ``secrets``, ``standin_env`` and ``overrides`` are resolved."""

    settings: HarnessSettings
    parity: ParityConfig
    fly: FlyConfig
    secrets: dict[str, str]
    standin_env: dict[str, str]
    overrides: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Project:
        """Read ``parity.toml`` of ``PARITY_ROOT`` and its files. Raises one ``ConfigError`` with every mistake."""
        settings = load_settings(environ)
        path = settings.root / PARITY_TOML
        if not path.exists():
            raise ConfigError(
                str(path), "there is no such file", fix="`parity init` writes it; elsewhere: parity --root FOLDER …"
            )
        mistakes = Mistakes()
        parity, fly, secrets = None, None, {}
        with mistakes.collected():
            parity = load_parity_config(path)
            mistakes.found += missing_paths(path, parity)
        names = parity.app.fly_config if parity else _fly_config_named(path)
        with mistakes.collected():
            fly = load_fly_config(settings.root / names, as_flyctl=settings.as_flyctl)
        if parity is None or fly is None:
            mistakes.raise_any()
            raise AssertionError("unreachable: a file that cannot be read is a mistake")
        variables = variables_of(settings, parity)
        if parity.secrets and (settings.root / parity.secrets.file).exists():
            with mistakes.collected():
                secrets = load_env_file(settings.root / parity.secrets.file, variables)
        given = {**fly.env, **secrets}
        extra, overrides = _differences(path, parity, variables, given, mistakes)
        for name in extra:
            if name in given:
                mistakes.found.append(
                    ConfigError(
                        f"{path}: standin.env.{name}",
                        "would replace a value that is set on Fly",
                        "only names that neither fly.toml nor the secrets set",
                        f"if the difference is intended, use [standin.override.{name}] with value and reason",
                    )
                )
        for name in overrides:
            if name not in given:
                mistakes.found.append(
                    ConfigError(
                        f"{path}: standin.override.{name}",
                        "replaces nothing: neither fly.toml nor the secrets set it",
                        "a name that is set on Fly",
                        "put it into [standin.env]",
                    )
                )
        mistakes.raise_any()
        return cls(settings, parity, fly, secrets, extra, overrides)

    def path(self, relative: str) -> Path:
        """A path of ``parity.toml`` as an absolute path."""
        return self.settings.root / relative

    def configuration_digest(self) -> str:
        """A hash of the files that describe the app. If it differs, the stand-ins must be restarted."""
        parity = self.parity
        named = [PARITY_TOML, parity.app.fly_config, parity.secrets.file if parity.secrets else "", parity.r2.cors]
        total = hashlib.sha256()
        for name in filter(None, named):
            total.update(f"{name}\0".encode() + self.path(name).read_bytes())
        return total.hexdigest()[:16]

    @property
    def variables(self) -> dict[str, str]:
        """What ``${NAME}`` stands for in the stand-in's secrets and in ``[standin]``."""
        return variables_of(self.settings, self.parity)

    @property
    def image(self) -> str:
        """The name of the Fly image that Compose builds for this checkout."""
        return self.settings.image

    def service_port(self, name: str) -> int:
        """The port at which Machines reach a service of ``parity.toml``."""
        return _moved(self.settings, self.parity.services[name].port)

    @property
    def process(self) -> Process:
        """How a Machine starts as a process. Raises ``ConfigError`` if ``parity.toml`` has no ``[app.process]``."""
        if self.parity.app.process is None:
            raise ConfigError(
                f"{self.settings.root / PARITY_TOML}: app.process",
                "it is missing; without Docker it says how a Machine starts as a process",
                'command = ["{python}", "-m", "uvicorn", "app.main:app", "--host", "{host}", "--port", "{port}"]',
                "add [app.process] with the command of CMD in the Dockerfile, or use --driver docker",
            )
        return self.parity.app.process

    @property
    def group_commands(self) -> dict[str, tuple[str, ...]]:
        """How the Machines of each further process group of fly.toml start as processes.

        Raises ``ConfigError`` for every group that ``parity.toml`` does not describe, and for one that fly.toml lacks.
        """
        path, mistakes = self.settings.root / PARITY_TOML, Mistakes()
        groups, given = self.fly.other_groups, self.parity.processes
        for name in groups:
            if name not in given:
                line = self.fly.processes[name]
                mistakes.found.append(
                    ConfigError(
                        f"{path}: processes.{name}",
                        f"it is missing; fly.toml runs {line!r} on Machines of this group",
                        f'without Docker: [processes.{name}] command = ["{{python}}", "-m", …]',
                    )
                )
        for name in given:
            if name not in groups:
                known = nearest(name, groups) or "no such table, because fly.toml has no further group"
                mistakes.found.append(
                    ConfigError(f"{path}: processes.{name}", "fly.toml has no such process group", known)
                )
        mistakes.raise_any()
        return {name: tuple(given[name].command) for name in groups}

    @property
    def machine_folder(self) -> str:
        """Folder of the source in the root folder of a process Machine: its path relative to the repository; ``source``
        if it is the whole repository or outside of it."""
        whole = self.settings.root.resolve()
        source = (whole / self.process.directory).resolve()
        below = source != whole and source.is_relative_to(whole)
        return str(source.relative_to(whole)) if below else "source"

    @property
    def python(self) -> Path:
        """The interpreter of process Machines: as configured, else ``.venv`` of the repository, else the harness's."""
        declared = self.parity.app.process.python if self.parity.app.process else ""
        if declared:
            return self.path(declared)
        own = self.path(".venv/bin/python")
        return own if own.exists() else Path(sys.executable)

    @property
    def health_path(self) -> str:
        """Path of the health check: the configured one, else that of fly.toml's first check; empty if there is none."""
        checks = self.fly.service.checks
        return self.parity.app.health_path or (checks[0].path if checks else "")

    @property
    def api_hostname(self) -> str:
        """The app's public host name on Fly."""
        return f"{self.fly.app}.fly.dev"

    @property
    def frontend_hostname(self) -> str:
        """The page's public host name; empty if page and API have the same origin."""
        return urlsplit(self.parity.app.frontend_origin).hostname or ""

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """All host names of the stand-ins for TLS, and R2's ``{bucket}.{host}``. If the host has a dot, a wildcard
        covers every bucket; clients do not accept a wildcard below a top-level name."""
        r2_hosts = dict.fromkeys(["r2.localhost", self.settings.r2_host])
        names = ["localhost", "127.0.0.1", "::1", "fly", "frontend", "r2", *r2_hosts]
        names += [f"*.{host}" for host in r2_hosts if "." in host]
        bucket = self.value("R2_BUCKET")
        names += [f"{bucket}.{host}" for host in ("localhost", *r2_hosts)] if bucket else []
        names += [self.api_hostname, self.frontend_hostname, *self.parity.stubs]
        return tuple(dict.fromkeys(filter(None, names)))

    def variable(self, known: str) -> str:
        """The app's name for the harness's variable ``known``, such as ``R2_BUCKET``."""
        names = self.parity.secrets.names if self.parity.secrets else SecretNames()
        return str(getattr(names, known))

    def value(self, known: str) -> str:
        """A Machine's value of the variable ``known``, such as ``R2_BUCKET``; empty if it has none."""
        return machine_environment(self).get(self.variable(known), "")

    def required(self, known: str) -> str:
        """Like ``value``, but raises ``ConfigError`` if a Machine has none."""
        value = self.value(known)
        if not value:
            raise self.missing(known)
        return value

    def missing(self, known: str) -> ConfigError:
        """The error for a required value that neither the secrets nor fly.toml set."""
        name = self.variable(known)
        file = self.parity.secrets.file if self.parity.secrets else f"{PARITY_TOML}: secrets"
        return ConfigError(
            file,
            f"{name} is missing",
            f"{name}=value",
            f"add the line; if the app uses another name, add it to parity.toml: [secrets.names] {known} = …",
        )

    @property
    def r2(self) -> R2Access:
        """The app's access to its bucket. Raises ``ConfigError`` with every missing value."""
        mistakes, values = Mistakes(), []
        for known in ("R2_ENDPOINT", "R2_BUCKET", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"):
            with mistakes.collected():
                values.append(self.required(known))
        mistakes.raise_any()
        return R2Access(*values)

    @property
    def bucket(self) -> str:
        """The bucket's name. Raises ``ConfigError`` if it is not set."""
        return self.required("R2_BUCKET")


def variables_of(settings: HarnessSettings, parity: ParityConfig) -> dict[str, str]:
    """The values of ``${NAME}``: addresses of the stand-ins, of each service (``PARITY_SERVICE_NAME``, as host:port)
    and of each stub (``PARITY_STUB_HOST``, as URL; dots and dashes of the name become ``_``)."""
    host = settings.service_host
    services = {
        f"PARITY_SERVICE_{_upper(name)}": f"{host}:{_moved(settings, one.port)}"
        for name, one in parity.services.items()
    }
    stubs = {f"PARITY_STUB_{_upper(name)}": f"http://{host}:{settings.stub_port}/{name}" for name in parity.stubs}
    return {**settings.variables(), **services, **stubs}


def machine_environment(project: Project) -> dict[str, str]:
    """A Machine's environment without Fly's own variables. Later ones win: ``[env]``, the secrets (as on Fly),
    ``[standin.env]``, ``[standin.override]``."""
    return {**project.fly.env, **project.secrets, **project.standin_env, **project.overrides}


def _moved(settings: HarnessSettings, port: int) -> int:
    """A service's port. In a process stack it is a port of this machine, so ``PARITY_PORT_OFFSET`` is added."""
    return port + settings.port_offset if settings.driver == "process" else port


def _upper(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name).upper()


def _differences(
    path: Path, parity: ParityConfig, variables: Mapping[str, str], given: Mapping[str, str], mistakes: Mistakes
) -> tuple[dict[str, str], dict[str, str]]:
    """``[standin.env]`` and ``[standin.override]`` with their references replaced."""
    extra: dict[str, str] = {}
    overrides: dict[str, str] = {}
    for name, value in parity.standin.env.items():
        with mistakes.collected():
            extra[name] = interpolate(value, variables, f"{path}: standin.env.{name}")
    for name, override in parity.standin.override.items():
        with mistakes.collected():
            # An override may contain Fly's value, so that a change of that value also takes effect here.
            known = {**variables, name: given[name]} if name in given else variables
            overrides[name] = interpolate(override.value, known, f"{path}: standin.override.{name}")
    return extra, overrides


def _fly_config_named(path: Path) -> str:
    """Path of fly.toml in a ``parity.toml`` with mistakes, so that one run reports the mistakes of both files."""
    try:
        app = read_toml(path).get("app")
    except ConfigError:
        return "fly.toml"
    named = app.get("fly_config") if isinstance(app, dict) else None
    return named if isinstance(named, str) else "fly.toml"
