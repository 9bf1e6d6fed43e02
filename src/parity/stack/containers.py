"""Runs ``docker compose`` for the container stack of one checkout.

Every command passes the project name and every port, because Compose cannot add ``PARITY_PORT_OFFSET`` to a port.
Containers that another checkout started are never touched.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from parity.config.settings import HarnessSettings
from parity.stack.errors import StackError
from parity.stack.hands import Hands, Output
from parity.stack.ownership import (
    EDITOR,
    FOLDER_LABEL,
    PROJECT_LABEL,
    OtherCheckout,
    list_containers,
    other_folder,
    own_names,
)
from parity.stack.status import PartStatus, compose_status

FILE = "compose.yaml"
_ENGINE_TIMEOUT_S = 20.0
_SOCKET = Path("/var/run/docker.sock")
# Variables that name a CA bundle. A proxy that intercepts TLS on this machine does so during image builds too.
_CA_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
BUILD_CA = ".parity/build/ca.pem"
# The label of each volume of a Machine (parity.fly.machines.container).
MACHINE_VOLUME_LABEL = "parity.fly.volume"


@dataclass(frozen=True)
class Containers:
    """The container stack of one checkout.

    ``folder`` is the checkout's path on the developer's machine, ``environ`` the developer's environment, and
    ``configuration`` the digest of the files that describe the app.
    """

    settings: HarnessSettings
    folder: Path
    environ: Mapping[str, str]
    hands: Hands
    configuration: str = ""

    @property
    def project(self) -> str:
        return self.settings.compose_project_name

    def compose(self, *words: str) -> list[str]:
        """The ``docker compose`` command for this checkout's file, independent of the current directory."""
        root = str(self.folder)
        return ["docker", "compose", "--project-directory", root, "-f", f"{root}/{FILE}", *words]

    @property
    def names(self) -> dict[str, str]:
        """The variables with the project name and the ports, for Compose."""
        settings = self.settings
        return own_names(self.project, {**settings.published_ports(), **settings.debug_ports()})

    def run(self, *words: str, env: Mapping[str, str] | None = None) -> int:
        """Run ``docker compose WORDS`` with its output on the terminal. Returns the exit code."""
        return self.hands.run(self.compose(*words), {**self.names, **(env or {})})

    def output(self, *words: str) -> Output:
        """Run ``docker compose WORDS`` and return its output."""
        return self.hands.output(self.compose(*words), self.names)

    # ---- the engine -------------------------------------------------------------------------------------------------

    def engine_problem(self) -> str:
        """Why no Docker engine with Compose can be used; empty if one answers."""
        for command in (["docker", "version", "--format", "{{.Server.Version}}"], ["docker", "compose", "version"]):
            done = self.hands.output(command, {}, _ENGINE_TIMEOUT_S)
            if done.code == 127:
                return "there is no docker command"
            if done.code != 0:
                lines = (done.errors or done.text).strip().splitlines()
                return lines[-1] if lines else f"`{' '.join(command)}` ended with {done.code}"
        return ""

    def require_engine(self) -> None:
        """Raises ``StackError`` if no Docker engine answers."""
        problem = self.engine_problem()
        if problem:
            raise StackError(
                f"no Docker engine can be used: {problem}",
                "start Docker (or set DOCKER_HOST), or use `parity up --driver process`",
            )

    def engine_may_exist(self) -> bool:
        """Whether a Docker engine may be running although none answers.

        True if there is a ``docker`` command, a ``DOCKER_HOST`` or a socket.
        """
        command = self.hands.output(["docker", "--version"], {}, _ENGINE_TIMEOUT_S).code != 127
        return command or bool(self.environ.get("DOCKER_HOST")) or _SOCKET.exists()

    # ---- whose containers -------------------------------------------------------------------------------------------

    def exist(self) -> bool:
        """Whether this checkout has containers, running or stopped.

        Raises ``OtherCheckout`` if the project's containers belong to another checkout.
        """
        found = [line.partition("\t") for line in self._lines(list_containers(self.project))]
        other = other_folder((folder for _, _, folder in found), str(self.folder), self._resolved)
        if other:
            raise OtherCheckout(self.project, other, self.folder)
        return any(service != EDITOR for service, _, _ in found)

    def _resolved(self, folder: str) -> str:
        """``folder`` with symbolic links resolved; unchanged if it does not exist."""
        script = 'cd "$1" 2>/dev/null && pwd -P || printf "%s\\n" "$1"'
        return self.hands.output(["sh", "-c", script, "sh", folder], {}).text.rstrip("\n")

    def held_ports(self) -> dict[int, str]:
        """Port → description of the container that publishes it; an empty string for containers of this project."""
        form = f'{{{{.Label "{PROJECT_LABEL}"}}}}\t{{{{.Names}}}}\t{{{{.Label "{FOLDER_LABEL}"}}}}\t{{{{.Ports}}}}'
        held: dict[int, str] = {}
        for line in self._lines(["docker", "ps", "--format", form]):
            project, name, folder, ports = line.split("\t")
            holder = f"container {name}" + (f" of {folder}" if folder else "")
            # Neighbouring ports are shown as one range: 127.0.0.1:9900-9901->9900-9901/tcp.
            for first, last in re.findall(r":(\d+)(?:-(\d+))?->", ports):
                for port in range(int(first), int(last or first) + 1):
                    held[port] = "" if project == self.project else holder
        return held

    def _lines(self, command: list[str]) -> list[str]:
        done = self.hands.output(command, {})
        if done.code != 0:
            raise StackError(f"`{' '.join(command)}` ended with {done.code}: {done.errors.strip()}")
        return done.text.splitlines()

    # ---- what runs --------------------------------------------------------------------------------------------------

    def parts(self) -> list[PartStatus]:
        """The state of each service that has a container. Machines are not listed."""
        done = self.output("ps", "--all", "--format", "json")
        if done.code != 0:
            raise StackError(f"docker compose ps ended with {done.code}: {done.errors.strip()}")
        return [part for part in compose_status(done.text) if part.name not in ("api", EDITOR)]

    def machines_running(self) -> int:
        """The number of running Machine containers."""
        done = self.output("ps", "-q", "--status", "running", "api")
        return len(done.text.split())

    def log_tail(self, service: str, lines: int) -> list[str]:
        """The last lines of a service."""
        done = self.output("logs", "--no-color", "--no-log-prefix", f"--tail={lines}", service)
        return (done.text + done.errors).splitlines()[-lines:]

    # ---- verbs ------------------------------------------------------------------------------------------------------

    def build_environment(self) -> dict[str, str]:
        """Variables for a build: the commit, the configuration's digest and a CA bundle.

        The bundle is copied into the checkout, because Compose's builder asks for permission to read a secret from
        outside the project.
        """
        commit = self.environ.get("GIT_COMMIT") or self._commit()
        return {"GIT_COMMIT": commit, "PARITY_CONFIGURATION": self.configuration, **self._build_ca()}

    def _commit(self) -> str:
        git = ["git", "-C", str(self.folder)]
        head = self.hands.output([*git, "rev-parse", "HEAD"], {})
        if head.code != 0:
            return "unknown"
        changed = self.hands.output([*git, "status", "--porcelain", "--untracked-files=no"], {})
        return head.text.strip() + ("-dirty" if changed.code == 0 and changed.text.strip() else "")

    def _build_ca(self) -> dict[str, str]:
        given = self.environ.get("PARITY_CA_FILE", "")
        if given and self._on_host("test", "-r", self._absolute(given)) != 0:
            raise StackError(
                f"PARITY_CA_FILE={given} cannot be read",
                "name a file of PEM certificates; unset it where TLS is not intercepted",
            )
        # PARITY_CA_FILE goes first, because in the dev container the other variables name the container's own roots.
        for file in [given] if given else [self.environ.get(name, "") for name in _CA_VARIABLES]:
            if file and self._on_host("test", "-f", self._absolute(file), "-a", "-s", self._absolute(file)) == 0:
                copy = f"{self.folder}/{BUILD_CA}"
                if self._absolute(file) != copy:
                    self._on_host("mkdir", "-p", str(Path(copy).parent))
                    self._on_host("cp", self._absolute(file), copy)
                return {"PARITY_CA_FILE": f"./{BUILD_CA}"}
        return {}

    def _absolute(self, path: str) -> str:
        return os.path.normpath(self.folder / path)

    def _on_host(self, *argv: str) -> int:
        return self.hands.output(argv, {}).code

    def start(self, timeout_s: float) -> int:
        """Build and start the stack. Returns Compose's exit code once all services are healthy, or at the timeout."""
        wait = ["--wait", "--wait-timeout", str(math.ceil(timeout_s))]
        # Create the folder as the developer; the Docker engine would create it as root.
        self._on_host("mkdir", "-p", f"{self._absolute(str(self._state_folder))}/trust")
        return self.run("up", "--build", *wait, "--quiet-pull", env=self.build_environment())

    @property
    def _state_folder(self) -> Path:
        return Path(self.environ.get("PARITY_STATE_DIR") or ".parity")

    def publish_debug_ports(self) -> int:
        """Start the container that publishes the debuggers' ports. Returns Compose's exit code."""
        return self.run("--profile", "debug", "up", "--detach", "--no-deps", "--no-build", "debug")

    def withdraw_debug_ports(self) -> None:
        """Remove the container that publishes the debuggers' ports."""
        self.run("--profile", "debug", "rm", "--stop", "--force", "debug")

    def stop(self, *, volumes: bool = False, quickly: bool = False) -> int:
        """Stop and remove the containers; Compose's exit code.

        ``volumes`` also deletes the data of R2, of Modal and of the CA. The editor's container keeps running.
        """
        words = [
            "down",
            "--remove-orphans",
            *(["--volumes"] if volumes else []),
            *(["--timeout=10"] if quickly else []),
        ]
        profiles = [name for name in self.output("config", "--profiles").text.split() if name != EDITOR]
        code = self.run(*(word for name in profiles for word in ("--profile", name)), *words)
        if volumes and code == 0:
            self._remove_machine_volumes()
        return code

    def _remove_machine_volumes(self) -> None:
        """Remove the volumes of fly.toml's ``[mounts]``. Compose cannot, because the Fly stand-in created them."""
        if found := self.volumes(MACHINE_VOLUME_LABEL):
            self.hands.output(["docker", "volume", "rm", *found], {})

    def volumes(self, *labels: str) -> list[str]:
        """The names of the volumes of this compose project that also have ``labels``."""
        filters = [
            word for label in (f"{PROJECT_LABEL}={self.project}", *labels) for word in ("--filter", f"label={label}")
        ]
        return self.hands.output(["docker", "volume", "ls", "--quiet", *filters], {}).text.split()

    def show_logs(self, service: str | None, *, follow: bool, tail: int) -> int:
        options = [*(["--follow"] if follow else []), f"--tail={tail}"]
        return self.run("logs", *options, *([service] if service else []))

    def follow_parts(self, parts: Sequence[str], tail: int) -> list[str]:
        """The command that follows the logs of ``parts``."""
        named = [f"{name}={value}" for name, value in self.names.items()]
        return ["env", *named, *self.compose("logs", "--follow", "--no-color", f"--tail={tail}", *parts)]

    def machine_container(self, machine: str) -> str:
        """The name of a Machine's container."""
        return f"{self.project}-api-{machine}"
