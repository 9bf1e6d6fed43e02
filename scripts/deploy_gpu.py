"""Deploys the GPU functions to Modal: runs ``modal deploy`` on the entry file of ``parity.toml``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from parity.config.errors import ConfigError
from parity.config.parity_toml import load_parity_config

ROOT = Path(__file__).resolve().parent.parent


def deploy_environment(environ: Mapping[str, str], pythonpath: list[str], root: Path) -> dict[str, str]:
    """The caller's environment without the stand-in's address, and with the import path of the entry file."""
    kept = {name: value for name, value in environ.items() if name != "MODAL_SERVER_URL"}
    return {**kept, "PYTHONPATH": os.pathsep.join(str(root / folder) for folder in pythonpath)}


def main() -> int:
    try:
        gpu = load_parity_config(ROOT / "parity.toml").gpu
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    argv = [sys.executable, "-m", "modal", "deploy", str(ROOT / gpu.entry)]
    return subprocess.run(argv, env=deploy_environment(os.environ, gpu.pythonpath, ROOT), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
