"""Settings of the harness itself: one table of ``PARITY_*`` variables that drives code, help and docs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from parity.config.errors import ConfigError
from parity.config.names import project_name
from parity.config.variables import Setting, optional_url, read


def _port(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 65535:
        raise ValueError(text)
    return value


def _name(text: str) -> str:
    if not text or text != text.strip() or "/" in text:
        raise ValueError(text)
    return text


def _driver(text: str) -> str:
    if text not in ("docker", "process"):
        raise ValueError(text)
    return text


def _offset(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 55_000:
        raise ValueError(text)
    return value


_PORT = (_port, "a port from 1 to 65535")
_HOST = (_name, "a host name or address")
_URL = (optional_url, "a URL that begins with http:// or https://")
_PATH = (Path, "a path")

SETTINGS: tuple[Setting, ...] = (
    Setting("PARITY_ROOT", ".", *_PATH, "the checkout: parity.toml lies in it"),
    Setting("PARITY_STATE_DIR", ".parity", *_PATH, "state of this checkout's stack"),
    Setting("PARITY_CA_DIR", "", *_PATH, "private key of the CA and the leaf certificate; empty: ca/ in the state"),
    Setting("PARITY_TRUST_DIR", "", *_PATH, "ca.pem for everything that trusts it; empty: trust/ in the state"),
    Setting("PARITY_DRIVER", "process", _driver, "docker or process", "what a Machine is: a container or a process"),
    Setting("PARITY_BIND", "127.0.0.1", *_HOST, "address that every stand-in listens on"),
    Setting(
        "COMPOSE_PROJECT_NAME",
        "",
        str,
        "a name of a compose project",
        "name of containers and images; empty: the folder's",
    ),
    Setting(
        "PARITY_PORT_OFFSET", "0", _offset, "a number from 0 to 55000", "added to each port that is not given itself"
    ),
    Setting("PARITY_API_PORT", "8443", *_PORT, "the edge, TLS"),
    Setting("PARITY_API_HTTP_PORT", "8080", *_PORT, "the edge, plain HTTP"),
    Setting("PARITY_FRONTEND_PORT", "5173", *_PORT, "the page, plain HTTP, for people"),
    Setting("PARITY_FRONTEND_TLS_PORT", "5443", *_PORT, "the page, TLS, for browser checks"),
    Setting("PARITY_R2_HOST", "localhost", *_HOST, "name under which Machines, people and browsers all reach R2"),
    Setting("PARITY_R2_PORT", "9000", *_PORT, "R2, TLS"),
    Setting("PARITY_R2_ADMIN_PORT", "9091", *_PORT, "R2's admin API"),
    Setting("PARITY_MODAL_HOST", "localhost", *_HOST, "name under which Machines and the worker reach Modal"),
    Setting("PARITY_MODAL_PORT", "9900", *_PORT, "Modal, gRPC without TLS"),
    Setting("PARITY_MODAL_BLOB_PORT", "9901", *_PORT, "Modal, payloads over 2 MiB"),
    Setting("PARITY_MODAL_ADMIN_PORT", "9092", *_PORT, "Modal's admin API"),
    Setting("PARITY_ADMIN_PORT", "9090", *_PORT, "admin gateway of the whole stack"),
    Setting("PARITY_R2_ADMIN_URL", "", *_URL, "where the gateway finds R2's admin API; empty: this host"),
    Setting("PARITY_MODAL_ADMIN_URL", "", *_URL, "where the gateway finds Modal's admin API; empty: this host"),
    Setting("PARITY_SERVICE_HOST", "localhost", *_HOST, "name under which Machines reach the services of parity.toml"),
    Setting("PARITY_STUB_PORT", "9095", *_PORT, "the stubs of parity.toml, plain HTTP"),
    Setting("PARITY_CA_PATH", "", str, "a path inside a Machine", "where a Machine finds ca.pem; empty: the trust dir"),
)

# What the container stack publishes; the admin APIs of R2 and Modal have ports of their own among processes only.
PUBLISHED = (
    "PARITY_API_PORT", "PARITY_API_HTTP_PORT", "PARITY_FRONTEND_PORT", "PARITY_FRONTEND_TLS_PORT", "PARITY_R2_PORT",
    "PARITY_MODAL_PORT", "PARITY_MODAL_BLOB_PORT", "PARITY_ADMIN_PORT",
)  # fmt: skip


@dataclass(frozen=True)
class HarnessSettings:
    """The values of ``SETTINGS``; a field is the variable's name without ``PARITY_``, in lower case."""

    root: Path
    state_dir: Path
    ca_dir: Path
    trust_dir: Path
    driver: str
    bind: str
    compose_project_name: str
    port_offset: int
    api_port: int
    api_http_port: int
    frontend_port: int
    frontend_tls_port: int
    r2_host: str
    r2_port: int
    r2_admin_port: int
    modal_host: str
    modal_port: int
    modal_blob_port: int
    modal_admin_port: int
    admin_port: int
    r2_admin_url: str
    modal_admin_url: str
    service_host: str
    stub_port: int
    ca_path: str

    @property
    def image(self) -> str:
        """The name of the Fly image that Compose builds for this checkout."""
        return f"{self.compose_project_name}-api"

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
            "PARITY_CA_PATH": self.ca_path,
        }

    def published_ports(self) -> dict[str, int]:
        """Variable → port of everything that the container stack publishes on this host."""
        return {name: int(getattr(self, name.removeprefix("PARITY_").lower())) for name in PUBLISHED}


def load_settings(environ: Mapping[str, str] = os.environ) -> HarnessSettings:
    """Read every setting; an unset or empty variable takes its default. Raises ``ConfigError``, naming the variable."""
    values = read(SETTINGS, environ)
    root = Path(str(values["root"])).resolve()
    state = root / str(values["state_dir"])
    values["root"], values["state_dir"] = root, state
    # An empty text reads as Path("."), which no one means here: it is the marker for "in the state".
    for field, folder in (("ca_dir", "ca"), ("trust_dir", "trust")):
        given = environ.get(f"PARITY_{field.upper()}")
        values[field] = root / given if given else state / folder
    values["compose_project_name"] = project_name(root, environ)
    values.update(_moved_ports(environ, int(str(values["port_offset"]))))
    values["ca_path"] = values["ca_path"] or str(Path(str(values["trust_dir"])) / "ca.pem")
    bind = str(values["bind"])
    here = "127.0.0.1" if bind == "0.0.0.0" else bind
    values["r2_admin_url"] = values["r2_admin_url"] or f"http://{here}:{values['r2_admin_port']}"
    values["modal_admin_url"] = values["modal_admin_url"] or f"http://{here}:{values['modal_admin_port']}"
    return HarnessSettings(**values)  # type: ignore[arg-type]  # the table and the class are held equal by a test


def _moved_ports(environ: Mapping[str, str], offset: int) -> dict[str, int]:
    """Each port that ``environ`` does not give: its default plus ``offset``. Raises ``ConfigError``."""
    moved = {}
    for setting in SETTINGS:
        if setting.parse is _port and not environ.get(setting.name):
            port = int(setting.default) + offset
            if port > 65535:
                raise ConfigError("PARITY_PORT_OFFSET", f"{setting.name} would be {port}", "ports up to 65535")
            moved[setting.field] = port
    return moved
