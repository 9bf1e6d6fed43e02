"""Builds the names, labels, configuration and archives of a Machine's container. Pure functions."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import PurePosixPath

from parity.fly.machines.driver import MachineSpec

SERVICE = "api"
MACHINE_LABEL = "parity.fly.machine"
VOLUME_LABEL = "parity.fly.volume"
# Limit of the engine's log of a container. The stand-in stores the logs of earlier starts in a file.
LOG_OPTIONS = {"max-size": "10m", "max-file": "1"}

# The scheduler's period on Fly, and the smallest quota that Linux accepts, in microseconds.
CPU_PERIOD_US = 80_000
LEAST_QUOTA_US = 1_000
_MEBIBYTE = 1024 * 1024

# Labels that Machines inherit from the stand-in's container, if it runs in compose.
INHERITED = ("com.docker.compose.project.working_dir", "com.docker.compose.project.config_files")


def cpu_quota(share: float) -> int:
    """Microseconds of each period for ``share`` CPUs."""
    return max(LEAST_QUOTA_US, round(share * CPU_PERIOD_US))


def container_name(project: str, spec: MachineSpec) -> str:
    return f"{project}-{SERVICE}-{spec.id}"


def container_config(
    spec: MachineSpec, image: str, project: str, network: str, inherited: dict[str, str], checkout: str = ""
) -> dict[str, object]:
    """The body of ``POST /containers/create``. Mounts are relative to ``checkout``, a path on the engine's machine.

    As on Fly there is no swap, and PID 1 is an init that reaps processes and forwards signals. Compose only treats the
    container as part of the project if it has the label ``config-hash`` (measured: ps, logs, down). The value does not
    matter, because the service has no replicas.
    """
    host: dict[str, object] = {
        "Init": True,
        "Memory": spec.memory_mb * _MEBIBYTE,
        "MemorySwap": spec.memory_mb * _MEBIBYTE,
        "CpuPeriod": CPU_PERIOD_US,
        "CpuQuota": cpu_quota(spec.cpus if spec.cpu_share is None else spec.cpu_share),
        "NetworkMode": network,
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "json-file", "Config": LOG_OPTIONS},
    }
    config: dict[str, object] = {
        "Image": image,
        "Hostname": spec.id,
        "Env": [f"{name}={value}" for name, value in spec.environment.items()],
        "HostConfig": host,
        "NetworkingConfig": {"EndpointsConfig": {network: {"Aliases": [SERVICE]}}},
    }
    mounts: list[dict[str, object]] = [
        {"Type": "bind", "Source": f"{checkout}/{source}", "Target": target, "ReadOnly": True}
        for source, target in spec.mounts
    ]
    if spec.volumes:
        mounts += [
            {
                "Type": "volume",
                "Source": f"{project}_{name}",
                "Target": target,
                # A new volume is empty and belongs to root, as on Fly. By default Docker would copy the image's folder
                # into it.
                "VolumeOptions": {
                    "NoCopy": True,
                    "Labels": {"com.docker.compose.project": project, VOLUME_LABEL: name},
                },
            }
            for name, target in spec.volumes
        ]
    if mounts:
        config["HostConfig"] = {**host, "Mounts": mounts}
    if spec.entrypoint:
        config["Entrypoint"] = list(spec.entrypoint)
    if spec.command:
        config["Cmd"] = list(spec.command)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    config["Labels"] = {
        **inherited,
        "com.docker.compose.project": project,
        "com.docker.compose.service": SERVICE,
        "com.docker.compose.container-number": str(spec.number),
        "com.docker.compose.oneoff": "False",
        "com.docker.compose.config-hash": digest,
        MACHINE_LABEL: spec.id,
    }
    return config


def file_archive(path: str, data: bytes) -> bytes:
    """A tar for ``PUT /containers/{id}/archive?path=/`` with one world-readable file and its folders."""
    buffer = io.BytesIO()
    inner = PurePosixPath(path).relative_to("/")
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in reversed(inner.parents[:-1]):
            entry = tarfile.TarInfo(str(folder))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        entry = tarfile.TarInfo(str(inner))
        entry.size, entry.mode = len(data), 0o644
        archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
