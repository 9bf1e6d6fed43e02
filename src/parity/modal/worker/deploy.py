"""Runs the unmodified `modal deploy` against the control plane."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from parity.config.errors import ConfigError
from parity.modal.config import WorkerConfig

_POLL_S = 0.2
# Seconds, fewer than the SDK's own 57, because the error here names the missing part.
_WAIT_S = 45.0


def deploy_command(config: WorkerConfig) -> list[str]:
    return [config.python, "-m", "modal", "deploy", str(config.entry)]


def deploy_environment(config: WorkerConfig, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The worker's environment without the variables that would direct the SDK to another server."""
    kept = {name: value for name, value in environ.items() if not name.startswith("MODAL_") and name != "PYTHONPATH"}
    return {
        **kept,
        "MODAL_SERVER_URL": config.url,
        "MODAL_TOKEN_ID": config.token_id,
        "MODAL_TOKEN_SECRET": config.token_secret,
        "MODAL_CONFIG_PATH": os.devnull,
        "PYTHONPATH": os.pathsep.join(map(str, config.pythonpath)),
    }


async def wait_for_control_plane(config: WorkerConfig) -> None:
    """Return when its port answers. Raises ConfigError when it does not within 45 s."""
    parts, end = urlsplit(config.url), asyncio.get_running_loop().time() + _WAIT_S
    while True:
        try:
            _reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        except OSError as error:
            if asyncio.get_running_loop().time() > end:
                fix = "start `python -m parity.modal serve`, or set PARITY_MODAL_HOST and PARITY_MODAL_PORT"
                raise ConfigError(config.url, f"the control plane does not answer: {error}", fix=fix) from error
            await asyncio.sleep(_POLL_S)
        else:
            writer.close()
            return


async def deploy(config: WorkerConfig) -> None:
    """Deploy the app. Raises ConfigError with the command's output when it fails."""
    process = await asyncio.create_subprocess_exec(
        *deploy_command(config),
        env=deploy_environment(config),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        text = output.decode(errors="replace").strip()
        problem = f"`modal deploy` failed with code {process.returncode}:\n{text}"
        raise ConfigError(str(config.entry), problem, fix="correct the file and start the worker again")
