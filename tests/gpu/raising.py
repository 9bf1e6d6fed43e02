"""A GPU app whose function raises what its payload names, for tests of how the backend hears of it."""

import builtins

import modal
import modal.exception
from grpclib.const import Status
from grpclib.exceptions import GRPCError

app = modal.App("reel-ballers-video", image=modal.Image.debian_slim(python_version="3.11"))


@app.function()
def render_reel(payload: dict[str, str]) -> None:
    name = payload["raise"]
    if name == "GRPCError":
        raise GRPCError(Status.UNAVAILABLE, "of the function")
    raise (getattr(builtins, name, None) or getattr(modal.exception, name))("of the function")
