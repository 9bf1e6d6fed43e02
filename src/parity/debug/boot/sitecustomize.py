"""Lets a Python process listen for a debugger before it runs anything else.

Python imports a module with this name at its start. A debugged Machine or function has this folder, which also has
debugpy, first in its ``PYTHONPATH``. So no command has to change, and it works for every server. The first process of a
program listens; debugpy reports its child processes to the debugger.

``PARITY_DEBUG_LISTEN`` is host:port. ``PARITY_DEBUG_WAIT`` is the time in seconds in which a waiting debugger must
attach before the program continues.
"""

import importlib.machinery
import importlib.util
import os
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - few imports before the program's own


def listen(where: str, wait_s: float) -> None:
    host, _, port = where.rpartition(":")
    try:
        import debugpy

        debugpy.listen((host, int(port)))
        if wait_s:
            timer = threading.Timer(wait_s, debugpy.wait_for_client.cancel)
            timer.daemon = True
            timer.start()
            debugpy.wait_for_client()
            timer.cancel()
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        sys.stderr.write(f"parity: no debugger can attach at {where}: {error}\n")


def next_sitecustomize() -> None:
    """Run the environment's own ``sitecustomize``, if it has one."""
    others = [path for path in sys.path if os.path.abspath(path or ".") != HERE]  # noqa: PTH100
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


# Removed from the environment, so that child processes and debugpy's helper do not listen on the same address.
_where = os.environ.pop("PARITY_DEBUG_LISTEN", "")
_wait = float(os.environ.pop("PARITY_DEBUG_WAIT", "0"))
if _where:
    listen(_where, _wait)
next_sitecustomize()
