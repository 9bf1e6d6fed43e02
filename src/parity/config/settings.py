"""The settings that all parts of the harness share: folders, names and ports."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from parity.config.errors import ConfigError
from parity.config.names import project_name
from parity.config.variables import (
    HOST,
    PATH,
    PORT,
    SWITCH,
    TEXT,
    URL,
    Kind,
    as_text,
    choice,
    integer,
    read,
    rows,
    setting,
)

_FOLDER = Kind(Path, "a path")


@dataclass(frozen=True, kw_only=True)
class HarnessSettings:
    """The table of shared settings. ``load_settings`` fills in defaults that depend on other settings."""

    root: Path = setting("PARITY_ROOT", _FOLDER, ".", "the folder that contains parity.toml", inside=True)
    configuration: str = setting(
        "PARITY_CONFIGURATION",
        TEXT,
        "",
        "hash of the configuration; Compose recreates the containers when it changes",
        inside=True,
    )
    checkout: Path = setting(
        "PARITY_CHECKOUT",
        _FOLDER,
        "",
        "the checkout's folder on the developer's machine, if PARITY_ROOT is a copy in an image; empty: PARITY_ROOT",
        inside=True,
    )
    state_dir: Path = setting("PARITY_STATE_DIR", _FOLDER, ".parity", "folder for the state of this checkout's stack")
    ca_dir: Path = setting(
        "PARITY_CA_DIR",
        _FOLDER,
        "",
        "folder of the CA's private key and the leaf certificate; empty: ca/ in the state folder",
        inside=True,
    )
    trust_dir: Path = setting(
        "PARITY_TRUST_DIR",
        _FOLDER,
        "",
        "folder of ca.pem, the CA that clients must trust; empty: trust/ in the state folder",
        inside=True,
    )
    publish_dir: str = setting(
        "PARITY_PUBLISH_DIR",
        PATH,
        "",
        "path of the checkout's state folder in fly's container, into which ca.pem is copied; empty: no copy",
        inside=True,
    )
    driver: str = setting(
        "PARITY_DRIVER",
        choice("docker", "process"),
        "process",
        "how Machines run: as containers or as processes; if not set, `parity up` takes docker if an engine answers",
    )
    bind: str = setting("PARITY_BIND", HOST, "127.0.0.1", "address on which every stand-in listens", inside=True)
    compose_project_name: str = setting(
        "COMPOSE_PROJECT_NAME",
        TEXT,
        "",
        "name of the Compose project, also used in the names of images; empty: the folder's name",
    )
    port_offset: int = setting(
        "PARITY_PORT_OFFSET", integer(0, 55_000), "0", "added to the default of each port that is not set"
    )
    as_flyctl: bool = setting(
        "PARITY_AS_FLYCTL", SWITCH, "false", "ignore unknown keys of fly.toml, as a deploy with flyctl does"
    )
    api_port: int = setting("PARITY_API_PORT", PORT, "8443", "port of the edge, TLS")
    api_http_port: int = setting("PARITY_API_HTTP_PORT", PORT, "8080", "port of the edge, plain HTTP")
    frontend_port: int = setting("PARITY_FRONTEND_PORT", PORT, "5173", "port of the page, plain HTTP, for people")
    frontend_tls_port: int = setting(
        "PARITY_FRONTEND_TLS_PORT", PORT, "5443", "port of the page, TLS, for browser checks"
    )
    r2_host: str = setting(
        "PARITY_R2_HOST", HOST, "localhost", "host name by which Machines, people and browsers reach R2", inside=True
    )
    r2_port: int = setting("PARITY_R2_PORT", PORT, "9000", "port of R2, TLS")
    r2_admin_port: int = setting("PARITY_R2_ADMIN_PORT", PORT, "9091", "port of R2's admin API (process stack)")
    modal_host: str = setting(
        "PARITY_MODAL_HOST", HOST, "localhost", "host name by which Machines and the worker reach Modal", inside=True
    )
    modal_port: int = setting("PARITY_MODAL_PORT", PORT, "9900", "port of Modal, gRPC without TLS")
    modal_blob_port: int = setting("PARITY_MODAL_BLOB_PORT", PORT, "9901", "port of Modal for payloads over 2 MiB")
    modal_admin_port: int = setting(
        "PARITY_MODAL_ADMIN_PORT", PORT, "9092", "port of Modal's admin API (process stack)"
    )
    admin_port: int = setting("PARITY_ADMIN_PORT", PORT, "9090", "port of the admin gateway of the whole stack")
    debug_port: int = setting(
        "PARITY_DEBUG_PORT", PORT, "5678", "port at which a debugger attaches to the Machine (`parity dev --debug`)"
    )
    gpu_debug_port: int = setting(
        "PARITY_GPU_DEBUG_PORT",
        PORT,
        "5679",
        "port at which a debugger attaches to the GPU functions (`parity dev --debug`)",
    )
    r2_admin_url: str = setting(
        "PARITY_R2_ADMIN_URL",
        URL,
        "",
        "URL at which the gateway reaches R2's admin API; empty: on this host",
        inside=True,
    )
    modal_admin_url: str = setting(
        "PARITY_MODAL_ADMIN_URL",
        URL,
        "",
        "URL at which the gateway reaches Modal's admin API; empty: on this host",
        inside=True,
    )
    service_host: str = setting(
        "PARITY_SERVICE_HOST",
        HOST,
        "localhost",
        "host name by which Machines reach the services of parity.toml",
        inside=True,
    )
    stub_port: int = setting("PARITY_STUB_PORT", PORT, "9095", "port of the stubs of parity.toml, plain HTTP")
    ca_path: str = setting(
        "PARITY_CA_PATH", PATH, "", "path of ca.pem in a Machine; empty: in PARITY_TRUST_DIR", inside=True
    )

    @property
    def image(self) -> str:
        """The name of the Fly image that Compose builds for this checkout."""
        return f"{self.compose_project_name}-api"

    @property
    def people_ca(self) -> Path:
        """Where people and tools find ca.pem: in the checkout, which may be another folder than ``root``."""
        ca = self.trust_dir / "ca.pem"
        return self.checkout / ca.relative_to(self.root) if ca.is_relative_to(self.root) else ca

    @property
    def r2_url(self) -> str:
        return f"https://{self.r2_host}:{self.r2_port}"

    @property
    def modal_url(self) -> str:
        return f"http://{self.modal_host}:{self.modal_port}"

    @property
    def api_url(self) -> str:
        return f"https://localhost:{self.api_port}"

    @property
    def frontend_url(self) -> str:
        return f"http://localhost:{self.frontend_port}"

    @property
    def admin_url(self) -> str:
        return f"http://localhost:{self.admin_port}"

    def variables(self) -> dict[str, str]:
        """What ``${NAME}`` may stand for in the stand-in's secrets and in ``[standin.env]``."""
        return {
            "PARITY_R2_URL": self.r2_url,
            "PARITY_MODAL_URL": self.modal_url,
            "PARITY_FRONTEND_URL": self.frontend_url,
            "PARITY_CA_PATH": self.ca_path,
        }

    def environment(self) -> dict[str, str]:
        """Every setting as the variable that gives it: a child that reads them gets exactly these settings."""
        return {row.name: as_text(getattr(self, row.field)) for row in rows(HarnessSettings)}

    def published_ports(self) -> dict[str, int]:
        """Variable → port of everything that the container stack publishes on this host."""
        return {name: int(self.environment()[name]) for name in PUBLISHED}

    def debug_ports(self) -> dict[str, int]:
        """Variable → port of what the container stack publishes for debuggers, while there are any."""
        return {"PARITY_DEBUG_PORT": self.debug_port, "PARITY_GPU_DEBUG_PORT": self.gpu_debug_port}


# The admin APIs of R2 and Modal have ports of their own among processes only.
PUBLISHED = (
    "PARITY_API_PORT", "PARITY_API_HTTP_PORT", "PARITY_FRONTEND_PORT", "PARITY_FRONTEND_TLS_PORT", "PARITY_R2_PORT",
    "PARITY_MODAL_PORT", "PARITY_MODAL_BLOB_PORT", "PARITY_ADMIN_PORT",
)  # fmt: skip


def load_settings(environ: Mapping[str, str] = os.environ) -> HarnessSettings:
    """Read every setting; an unset or empty variable takes its default. Raises one ``ConfigError`` for all mistakes."""
    values = read(HarnessSettings, environ)
    root = values["root"].resolve()
    state = root / values["state_dir"]
    values["root"], values["state_dir"] = root, state
    # An empty text reads as Path("."), the checkout: here it stands for a folder in the state.
    for name, folder in (("ca_dir", "ca"), ("trust_dir", "trust")):
        given = environ.get(f"PARITY_{name.upper()}")
        values[name] = root / given if given else state / folder
    values["checkout"] = values["checkout"] if environ.get("PARITY_CHECKOUT") else root
    values["compose_project_name"] = project_name(values["checkout"], environ)
    values.update(_moved_ports(environ, values["port_offset"]))
    values["ca_path"] = values["ca_path"] or str(values["trust_dir"] / "ca.pem")
    here = "127.0.0.1" if values["bind"] == "0.0.0.0" else values["bind"]
    for name in ("r2_admin", "modal_admin"):
        values[f"{name}_url"] = values[f"{name}_url"] or f"http://{here}:{values[f'{name}_port']}"
    return HarnessSettings(**values)


def _moved_ports(environ: Mapping[str, str], offset: int) -> dict[str, int]:
    """Each port that ``environ`` does not give: its default plus ``offset``. Raises ``ConfigError``."""
    moved = {}
    for row in rows(HarnessSettings):
        if row.kind is PORT and not environ.get(row.name):
            port = int(row.default) + offset
            if port > 65535:
                raise ConfigError("PARITY_PORT_OFFSET", f"{row.name} would be {port}", "ports up to 65535")
            moved[row.field] = port
    return moved
