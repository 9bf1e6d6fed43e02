"""Applies broken variants to the stack and removes them: releases, image layers, the proxy, R2's rules and faults."""

from __future__ import annotations

import asyncio
import inspect
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from parity.checks.bucket import Bucket
from parity.checks.machines import Machines
from parity.checks.stack import Stack, StackError
from parity.checks.variants import Both, BucketCors, Change, Env, Fault, Layer, Named, Patch, Proxy, R2Rules, Wrap
from parity.checks.verdict import NotDeclared, NotShown
from parity.config.project import Project
from parity.report.engine import Engine, EngineError
from parity.wraps import boot

# Seconds to wait until a variant's release is healthy. A release that needs longer is a mistake in the variant.
HEALTHY_WITHIN_S = 60
WSGI_SERVERS = ("gunicorn", "waitress", "waitress-serve", "uwsgi", "mod_wsgi-express", "flask")
WRAPS_MODULE = "parity.wraps."
# Wraps that know WSGI applications too.
ANY_APP = (boot.crash_route,)
# The package beside the app's entry module into which wraps are copied.
WRAPS = "parity_wraps"
# Folders of a checkout that are not part of the app.
NOT_COPIED = ("__pycache__", "user_data", ".venv", "venv", ".git", ".parity", "node_modules")


@dataclass
class Stage:
    """The changes that are in force on one stack. ``named``: the broken variants of the contract."""

    stack: Stack
    named: Mapping[str, Change]
    in_force: tuple[Change, ...] = ()
    # The stand-in's id of each fault in force, by the identity of the variant.
    _faults: dict[int, str] = field(default_factory=dict)

    @asynccontextmanager
    async def changed(self, *changes: Change) -> AsyncIterator[None]:
        """Apply ``changes`` in addition to those in force, and restore the former state at the end.

        A change that a check applies itself is inside its broken variant, which was applied before. Raises
        ``NotDeclared`` for a ``Named`` variant that the contract does not define, ``NotShown`` for a variant that this
        stack cannot apply, and ``StackError`` when the stack fails.
        """
        before, wanted = self.in_force, (*self.in_force, *self.plain_of(changes, self.named))
        self._refuse(wanted)
        try:
            await self._to(wanted)
            yield
        finally:
            await asyncio.shield(self._to(before))

    def _refuse(self, changes: Sequence[Change]) -> None:
        """Raises ``NotDeclared`` or ``NotShown`` for a change that this app does not allow."""
        parity = self.stack.site.project.parity
        if not parity.gpu and any(isinstance(change, Fault) and change.standin == "modal" for change in changes):
            raise NotDeclared("the broken variant is a fault of Modal, and parity.toml has no [gpu]")
        server = wsgi_server(parity.app.process.command if parity.app.process else ())
        for wrap in (change for change in changes if isinstance(change, Wrap)):
            if server and wrap.function.__module__.startswith(WRAPS_MODULE) and wrap.function not in ANY_APP:
                raise NotShown(f"{wrap} wraps ASGI applications, and {server} serves a WSGI application")

    @staticmethod
    def plain_of(changes: Sequence[Change], named: Mapping[str, Change]) -> tuple[Change, ...]:
        """``changes`` with each ``Named`` and ``Both`` replaced by its variants. Raises ``NotDeclared``."""
        found: list[Change] = []
        for change in changes:
            if isinstance(change, Both):
                found += Stage.plain_of(change.changes, named)
            elif isinstance(change, Named):
                other = named.get(change.name, change.otherwise)
                if other is None:
                    raise NotDeclared(f"the contract has no broken variant {change.name!r}")
                found += Stage.plain_of([other], named)
            else:
                found.append(change)
        return tuple(found)

    async def as_configured(self) -> None:
        """Restore the configured release, R2's rules and the bucket, because a killed run may have left its variant."""
        release = await self.stack.admin("GET", "/fly/release")
        if release["env"] or release["source"] or release["image"]:
            await self.stack.admin("POST", "/fly/releases", {"wait": HEALTHY_WITHIN_S}, timeout_s=HEALTHY_WITHIN_S + 60)
        shutil.rmtree(self._variants, ignore_errors=True)  # no Machine uses these sources now
        await self.stack.admin("DELETE", "/fly/interposer")
        await self.stack.admin("DELETE", "/r2/behaviour")
        await self.stack.admin("DELETE", "/r2/cors")
        await Bucket(self.stack).restore_emptied()
        for name in self.stack.site.project.parity.services:
            await self.stack.admin("POST", f"/services/{name}/back")
        await self.as_one_finds_it()

    async def as_one_finds_it(self) -> None:
        """Restore the state that a check with ``alone`` expects: no faults, the configured CPU quota, one Machine."""
        if self.stack.target.driver == "docker":
            await self.stack.admin("DELETE", "/fly/cpu")
        await self.stack.admin("DELETE", "/r2/faults")
        if self.stack.site.project.parity.gpu:
            await self.stack.admin("DELETE", "/modal/faults")
        machines = Machines(self.stack)
        for machine in (await machines.all())[1:]:
            await machines.destroy(machine["id"])
        await machines.first()
        await machines.start_workers()

    async def _to(self, changes: tuple[Change, ...]) -> None:
        """Make ``changes`` what is in force."""
        before, self.in_force = self.in_force, changes
        if (rules := _rules(changes)) != _rules(before):
            await self.stack.admin("POST", "/r2/behaviour", {"rules_off": rules})
        if (cors := _cors(changes)) != _cors(before):
            method, body = ("DELETE", None) if cors is None else ("PUT", {"CORSRules": [dict(rule) for rule in cors]})
            await self.stack.admin(method, "/r2/cors", body)
        if (proxies := _proxies(changes)) != _proxies(before):
            await self.stack.admin("PUT", "/fly/interposer", {"wraps": proxies})
        for fault in (change for change in before if isinstance(change, Fault) and change not in changes):
            if made := self._faults.pop(id(fault), None):
                await self.stack.admin("DELETE", f"/{fault.standin}/faults?id={made}")
        for fault in (change for change in changes if isinstance(change, Fault) and change not in before):
            self._faults[id(fault)] = str(
                (await self.stack.admin("POST", f"/{fault.standin}/faults", fault.body))["id"]
            )
        if (released := _released(changes)) != _released(before):
            await self._release(released)

    async def _release(self, changes: Sequence[Change]) -> None:
        env = {name: value for change in changes if isinstance(change, Env) for name, value in change.values.items()}
        files = {path: text for change in changes if isinstance(change, Layer) for path, text in change.files.items()}
        # The last wrap is the innermost: a check's own wrap is inside its broken variant.
        wraps = [change for change in changes if isinstance(change, Wrap)][::-1]
        patches = [change for change in changes if isinstance(change, Patch)]
        starts = all(change.starts for change in changes if isinstance(change, Wrap | Layer | Patch))
        body: dict[str, object] = {"wait": HEALTHY_WITHIN_S if starts else False, "env": env}
        docker = self.stack.target.driver == "docker"
        if files and not docker:
            raise NotShown("a layer of the image needs containers: the process stack runs the sources")
        former = list(self._variants.glob("*"))
        if (wraps or patches) and not docker:
            self._variants.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self._variants))
            body["source"] = str(changed_source(self.stack.site.project, wraps, patches, folder))
        elif wraps or patches or files:
            body["image"] = await asyncio.to_thread(self._image, files, wraps, patches)
        await self.stack.admin("POST", "/fly/releases", body, timeout_s=HEALTHY_WITHIN_S + 120)
        if starts:
            await Machines(self.stack).first()  # the edge must have seen the port open too
        for folder in former:  # no Machine uses these sources now
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def _variants(self) -> Path:
        """The folder of changed copies of the app's sources."""
        return self.stack.site.project.settings.state_dir / "variants"

    def _image(self, files: Mapping[str, str], wraps: Sequence[Wrap], patches: Sequence[Patch]) -> str:
        """Build the app's image with these files, wraps and patches, and return its name. Raises ``StackError``."""
        project, engine = self.stack.site.project, Engine()
        base = project.image
        tag = f"{base.partition(':')[0]}-broken"
        try:
            layered = dict(files)
            workdir = str(engine.image(base)["Config"].get("WorkingDir") or "").rstrip("/")
            for patch in patches:
                place = f"{workdir}/{patch.file}"
                layered[place] = patch.applied(layered.get(place) or _text_of(engine, base, place))
            if wraps:
                entry, name = entry_point(project)
                text = layered.get(f"{workdir}/{entry}") or _text_of(engine, base, f"{workdir}/{entry}")
                for path, content in wrapped_files(text, entry, name, wraps).items():
                    layered[f"{workdir}/{path}"] = content
            engine.build(tag, base, layered)
        except EngineError as error:
            raise StackError(f"the broken image cannot be built: {error}") from None
        return tag


def _text_of(engine: Engine, image: str, path: str) -> str:
    # The container's terminal ends lines with CR LF.
    return engine.run_and_read(image, ["cat", path]).replace("\r\n", "\n")


def _rules(changes: Sequence[Change]) -> str:
    return ",".join(change.off for change in changes if isinstance(change, R2Rules))


def _cors(changes: Sequence[Change]) -> Sequence[Mapping[str, object]] | None:
    return next((change.rules for change in reversed(changes) if isinstance(change, BucketCors)), None)


def _proxies(changes: Sequence[Change]) -> list[dict[str, object]]:
    return [{"name": change.name, "settings": change.settings} for change in changes if isinstance(change, Proxy)]


def _released(changes: Sequence[Change]) -> tuple[Change, ...]:
    return tuple(change for change in changes if isinstance(change, Env | Patch | Wrap | Layer))


def wsgi_server(command: Sequence[str]) -> str:
    """The WSGI server in a start command; empty where there is none, or where it serves ASGI (gunicorn can)."""
    names = [Path(word).name for word in command]
    asgi = any("uvicorn" in word.lower() or "asgi" in word.lower() for word in command)
    return "" if asgi else next((name for name in names if name in WSGI_SERVERS), "")


def entry_point(project: Project) -> tuple[str, str]:
    """The file of the ``package.module:name`` in the app's start command, as ``package/module.py``, and the name.

    Raises ``NotShown`` where the command names none, because the app is not an ASGI app or is started by a script.
    """
    process = project.parity.app.process
    command = process.command if process else []
    for word in command:
        module, colon, name = word.partition(":")
        if colon and name.isidentifier() and all(part.isidentifier() for part in module.split(".")):
            return f"{module.replace('.', '/')}.py", name
    raise NotShown(
        f"app.process.command of parity.toml names no package.module:app to wrap: {json.dumps(command)}. Name it there"
        " (uvicorn package.module:app); for unexpected exceptions the contract's crash does as well"
    )


def wrapped_files(text: str, entry: str, name: str, wraps: Sequence[Wrap]) -> dict[str, str]:
    """The changed entry module and the modules of the wraps, by path. The first of ``wraps`` is the innermost."""
    folder = Path(entry).parent
    package = ".".join((*folder.parts, WRAPS))
    files = {}
    text += "\n\nimport json as _json\nimport sys as _sys\n\n"
    for wrap in wraps:
        source = Path(inspect.getsourcefile(wrap.function) or "")
        # The whole package is copied, because the wraps share modules.
        for file in source.parent.glob("*.py"):
            files[str(folder / WRAPS / file.name)] = file.read_text("utf-8")
        settings = json.dumps(dict(wrap.settings))
        text += f"from {package}.{source.stem} import {wrap.function.__name__} as _wrap\n"
        # getattr on the module, because some apps create their application on demand (module ``__getattr__``).
        text += f"{name} = _wrap(_sys.modules[__name__].{name}, _json.loads({settings!r}))\n"
    return {entry: text, **files}


def changed_source(project: Project, wraps: Sequence[Wrap], patches: Sequence[Patch], folder: Path) -> Path:
    """A copy of the app's sources with the patches and the wraps, in ``folder``."""
    copy = folder / "source"
    source = project.path(project.process.directory)
    state = project.settings.state_dir.resolve()

    def not_copied(place: str, names: list[str]) -> set[str]:
        """Names that are not copied. The state folder may lie inside the sources, and this copy lies inside it."""
        return {name for name in names if name in NOT_COPIED or (Path(place) / name).resolve() == state}

    shutil.copytree(source, copy, ignore=not_copied, symlinks=True)
    for patch in patches:
        file = copy / patch.file
        file.write_text(patch.applied(file.read_text("utf-8")), "utf-8")
    if not wraps:
        return copy
    entry, name = entry_point(project)
    for path, content in wrapped_files((copy / entry).read_text("utf-8"), entry, name, wraps).items():
        (copy / path).parent.mkdir(exist_ok=True)
        (copy / path).write_text(content, "utf-8")
    return copy
