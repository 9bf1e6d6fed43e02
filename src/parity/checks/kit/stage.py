"""Puts a change in place and takes it back: releases, layers, CORS policies, faults."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from parity.checks.kit.admin import Admin
from parity.checks.model import BucketCors, Change, Env, Fault, Layer, Unobservable, Wrap
from parity.config.project import Project
from parity.report.engine import Engine, EngineError

if TYPE_CHECKING:
    from parity.stack.target import Target

BROKEN_IMAGE = "parity-broken"
SNIPPET = "broken_variant"


@dataclass
class Stage:
    """What is in force on the stack; ``body`` is the release of a broken variant, empty for the configured one."""

    project: Project
    target: Target
    admin: Admin
    body: dict[str, object] = field(default_factory=dict)

    @asynccontextmanager
    async def environment(self, values: Mapping[str, str | None]) -> AsyncIterator[None]:
        """A release with these variables, for a check that needs one; a broken variant's own values win."""
        theirs = self.body.get("env", {})
        assert isinstance(theirs, dict)
        await self.admin.release({**self.body, "env": {**values, **theirs}})
        try:
            yield
        finally:
            await self.admin.release(self.body)

    @asynccontextmanager
    async def applied(self, change: Change) -> AsyncIterator[None]:
        """Put ``change`` in place, and everything back afterwards. Raises ``Unobservable``."""
        match change:
            case Env(values):
                async with self._released({"env": dict(values)}):
                    yield
            case Wrap():
                async with self._wrapped(change):
                    yield
            case Layer(files):
                async with self._layered(files, {}):
                    yield
            case BucketCors(rules):
                async with self._cors(rules):
                    yield
            case Fault(standin, body):
                async with self._fault(standin, body):
                    yield

    @asynccontextmanager
    async def _released(self, body: dict[str, object]) -> AsyncIterator[None]:
        self.body = body
        try:
            await self.admin.release(body)
            self.body = {name: value for name, value in body.items() if name != "wait"}
            yield
        finally:
            self.body = {}
            await self.admin.release({})

    @asynccontextmanager
    async def _wrapped(self, change: Wrap) -> AsyncIterator[None]:
        source = Path(change.module.__file__ or "").read_text("utf-8")
        entry = entry_file(self.project.process.command)
        snippet = str(Path(entry).parent / f"{SNIPPET}.py")
        wait: dict[str, object] = {} if change.wait else {"wait": False}
        if self.target.driver == "docker":
            workdir, text = self._in_image(entry)
            files = {f"{workdir}/{entry}": wrapped_entry(text, entry), f"{workdir}/{snippet}": source}
            async with self._layered(files, wait):
                yield
            return
        directory = self.project.path(self.project.process.directory)
        wrapped = wrapped_entry((directory / entry).read_text("utf-8"), entry)
        with tempfile.TemporaryDirectory(prefix="parity-broken-") as folder:
            copy = Path(folder) / "source"
            shutil.copytree(directory, copy, ignore=shutil.ignore_patterns("__pycache__", "user_data", ".venv"))
            (copy / entry).write_text(wrapped, "utf-8")
            (copy / snippet).write_text(source, "utf-8")
            async with self._released({"source": str(copy), **wait}):
                yield

    def _in_image(self, entry: str) -> tuple[str, str]:
        """The image's working directory, and the text of ``entry`` in it: the checkout may not be here."""
        image, engine = self.project.image, Engine()
        try:
            workdir = str(engine.image(image)["Config"].get("WorkingDir") or "").rstrip("/")
            # The terminal of the throw-away container ends lines with CR LF.
            text = engine.run_and_read(image, ["cat", f"{workdir}/{entry}"]).replace("\r\n", "\n")
        except EngineError as error:
            raise Unobservable(str(error)) from None
        return workdir, text

    @asynccontextmanager
    async def _layered(self, files: Mapping[str, str], more: Mapping[str, object]) -> AsyncIterator[None]:
        engine = Engine()
        try:
            engine.build(BROKEN_IMAGE, self.project.image, files)
        except EngineError as error:
            raise Unobservable(f"the broken image cannot be built: {error}") from None
        try:
            async with self._released({"image": BROKEN_IMAGE, **more}):
                yield
        finally:
            engine.remove_image(BROKEN_IMAGE)

    @asynccontextmanager
    async def _cors(self, rules: Sequence[Mapping[str, object]]) -> AsyncIterator[None]:
        await self.admin.call("PUT", "/r2/cors", {"CORSRules": [dict(rule) for rule in rules]})
        try:
            yield
        finally:
            await self.admin.call("DELETE", "/r2/cors")

    @asynccontextmanager
    async def _fault(self, standin: str, body: Mapping[str, object]) -> AsyncIterator[None]:
        made = await self.admin.call("POST", f"/{standin}/faults", body)
        try:
            yield
        finally:
            await self.admin.call("DELETE", f"/{standin}/faults?id={made['id']}")


def entry_file(command: list[str]) -> str:
    """The file of the ``package.module:name`` in a start command, as ``package/module.py``. Raises ``Unobservable``."""
    for word in command:
        module, colon, name = word.partition(":")
        if colon and name.isidentifier() and all(part.isidentifier() for part in module.split(".")):
            return f"{module.replace('.', '/')}.py"
    raise Unobservable(f"app.process.command of parity.toml names no package.module:app: {json.dumps(command)}")


def wrapped_entry(source: str, entry: str) -> str:
    """The entry module with its ``app`` wrapped; an ``app`` that the module makes on demand works too."""
    package = ".".join(Path(entry).parent.parts)
    module = f"{package}.{SNIPPET}" if package else SNIPPET
    return (
        f"{source}\n\nimport sys as _sys\n\nfrom {module} import wrap as _wrap\n\n"
        "app = _wrap(_sys.modules[__name__].app)\n"
    )
