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
# A container's log on the engine's side stays within this; the stand-in keeps earlier starts in a file of its own.
LOG_OPTIONS = {"max-size": "10m", "max-file": "1"}

# The scheduler's period as Fly sets it, and the least quota that Linux takes, in microseconds.
CPU_PERIOD_US = 80_000
LEAST_QUOTA_US = 1_000
_MEBIBYTE = 1024 * 1024

# Labels of the stand-in's own container that its Machines carry too, where it runs in compose.
INHERITED = ("com.docker.compose.project.working_dir", "com.docker.compose.project.config_files")


def cpu_quota(share: float) -> int:
    """Microseconds of each period for ``share`` CPUs."""
    return max(LEAST_QUOTA_US, round(share * CPU_PERIOD_US))


def container_name(project: str, spec: MachineSpec) -> str:
    return f"{project}-{SERVICE}-{spec.id}"


def container_config(
    spec: MachineSpec, image: str, project: str, network: str, inherited: dict[str, str], checkout: str = ""
) -> dict[str, object]:
    """The body of ``POST /containers/create``. ``checkout`` is the folder that mounts are relative to, as the engine's
    machine names it.

    Memory has no swap beside it and PID 1 is an init that reaps and passes signals on, as on Fly. ``config-hash`` only
    has to be there for compose to count the container as its own (measured: ps, logs, down); as the service has no
    replicas, compose never compares it, so it is this configuration's own hash.
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
                # An empty volume is root's, as on Fly: Docker would copy the image's folder and its owner onto it.
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
    """A tar for ``PUT /containers/{id}/archive?path=/`` with one file that all may read, its folders included."""
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
