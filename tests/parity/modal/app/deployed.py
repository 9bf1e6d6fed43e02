"""A Modal app with one function for each thing that the stand-in serves."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal
from helpers import label  # type: ignore[import-not-found]  # beside this file, in the container too

image = modal.Image.debian_slim(python_version="3.11").add_local_python_source("helpers")
app = modal.App("reel-ballers-video", image=image)
marks = modal.Dict.from_name("test-marks", create_if_missing=True)
r2 = modal.Secret.from_name("reel-ballers-r2", required_keys=["R2_BUCKET"])


@app.function(timeout=60)
def double(x: int) -> int:
    return 2 * x


@app.function()
async def arender(x: int) -> int:
    await asyncio.sleep(0.01)
    return x + 1


@app.function(secrets=[r2, modal.Secret.from_dict({"OWN": "k123"})])
def surroundings() -> dict[str, Any]:
    names = ("R2_BUCKET", "R2_ENDPOINT", "OWN", "MODAL_TOKEN_SECRET")
    return {"label": label(), "local": modal.is_local(), "task": os.environ["MODAL_TASK_ID"], "pid": os.getpid()} | {
        name: os.environ.get(name) for name in names
    }


@app.function()
def frames(n: int) -> Iterator[dict[str, int]]:
    for k in range(n):
        yield {"frame": k}


@app.function()
def echo(data: bytes) -> bytes:
    return data


# By default a start has the same limit, and on a busy machine it takes longer than a second.
@app.function(timeout=1, startup_timeout=60)
def too_slow() -> None:
    time.sleep(60)


@app.function()
def wait_for(folder: str) -> str:
    """Says by a file that it runs, then waits for the test's file: works while the control plane is down."""
    Path(folder, "pid").write_text(str(os.getpid()))
    while not Path(folder, "go").exists():
        time.sleep(0.05)
    return f"{folder} went on"


@app.function()
def boom() -> None:
    raise ValueError("bad clip")


@app.function(retries=modal.Retries(max_retries=2, initial_delay=0.1, backoff_coefficient=1.0))
def flaky(key: str, failures: int) -> int:
    attempt = int(marks.get(key, 0)) + 1
    marks[key] = attempt
    if attempt <= failures:
        raise RuntimeError(f"attempt {attempt}")
    return attempt


@app.function()
def dies(key: str, times: int) -> int:
    attempt = int(marks.get(key, 0)) + 1
    marks[key] = attempt
    if attempt <= times:
        os._exit(137)
    return attempt


@app.cls()
class Model:
    size: int = modal.parameter(default=3)

    @modal.enter()
    def load(self) -> None:
        self.weight = self.size * 100

    @modal.method()
    def predict(self, x: int) -> tuple[int, int]:
        return self.weight, x
