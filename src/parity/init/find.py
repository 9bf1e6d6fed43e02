"""Looks at a repository: its fly.toml, Dockerfile, requirements and sources. Nothing is run and nothing is written."""

from __future__ import annotations

import posixpath
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from parity.init import patterns
from parity.init.copies import Copies, copies_of
from parity.init.docker import filled_in, module_of, process_command, read_dockerfile, without_entrypoint

_SKIPPED = frozenset(
    {".git", ".venv", "venv", "node_modules", ".parity", "__pycache__", "site-packages", "tests", "test"}
)
_MAX_FILES, _MAX_BYTES = 3000, 400_000


@dataclass
class Findings:
    """What was found; empty where there was nothing. Paths are relative to the repository."""

    fly_config: str = ""
    app: str = ""
    port: int = 8080
    env: dict[str, str] = field(default_factory=dict)
    health_path: str = ""
    groups: dict[str, str] = field(default_factory=dict)
    release_command: str = ""
    dockerfile: str = ""
    directory: str = "."
    command: list[str] = field(default_factory=list)
    image_command: tuple[str, ...] = ()
    # ENV and WORKDIR of the Dockerfile.
    image_env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    # The variables by which a process is told its port and address, where its command does not say them.
    listens: dict[str, str] = field(default_factory=dict)
    # Absolute paths in the sources, each with the file that names it.
    places: dict[str, str] = field(default_factory=dict)
    must: list[str] = field(default_factory=list)
    may: list[str] = field(default_factory=list)
    r2: dict[str, str] = field(default_factory=dict)
    services: dict[str, str] = field(default_factory=dict)
    origin_name: str = ""
    origin: str = ""
    gpu_app: str = ""
    gpu_entry: str = ""
    gpu_secrets: list[str] = field(default_factory=list)
    gpu_reads: list[str] = field(default_factory=list)
    gpu_requirements: str = ""
    migrate: list[str] = field(default_factory=list)
    cors: str = ""
    # What the Dockerfile copies of the repository.
    copies: Copies = field(default_factory=Copies)
    # Whether the image replicates SQLite by Litestream, which runs behind the answers.
    litestream: bool = False
    problems: list[str] = field(default_factory=list)

    @property
    def secrets(self) -> list[str]:
        """Variables that the sources cannot do without, and addresses of services, that fly.toml does not give."""
        given = {*self.env, *self.image_env}
        wanted = dict.fromkeys([*self.must, *self.services.values()])
        return [name for name in wanted if name not in given and not patterns.NOT_SECRETS.match(name)]

    def meant_by(self, name: str) -> str:
        """The Machine's variable that a variable of a GPU function, such as ``BUCKET_KEY``, most likely is."""
        kinds = {"R2_BUCKET": "BUCKET(_NAME)?$", "R2_SECRET_ACCESS_KEY": "SECRET", "R2_ACCESS_KEY_ID": "KEY",
                 "R2_ENDPOINT": "ENDPOINT|URL|HOST|(R2|S3)$"}  # fmt: skip
        return next((self.r2[ours] for ours, word in kinds.items() if re.search(word, name) and ours in self.r2), "")

    @property
    def process_env(self) -> dict[str, str]:
        """What the image's ENV gives the app, with paths that lie in a Machine's own folder."""
        read = {name: value for name, value in self.image_env.items() if name in {*self.must, *self.may} - {*self.env}}
        own = {name: self._own(value) for name, value in read.items() if not patterns.NOT_SECRETS.match(name)}
        return {**own, **self.listens}

    def _own(self, value: str) -> str:
        if not value.startswith("/"):
            return value
        below = posixpath.relpath(value, self.workdir)
        if not below.startswith(".."):
            return below
        # Outside of the code it is a folder of the image or of a volume; the slash lets each Machine begin with it.
        return value.strip("/") + ("" if posixpath.splitext(value)[1] else "/")

    @property
    def environment(self) -> str:
        """What fly.toml calls the environment, such as ``staging``; empty where it does not say it."""
        named = (value for name, value in self.env.items() if patterns.ENVIRONMENT.search(name))
        return next((value for value in named if patterns.ENVIRONMENTS.fullmatch(value)), "")

    @property
    def outside(self) -> list[str]:
        """Secrets that look like the address of something else: another service, or an API of others."""
        known = {*self.r2.values(), *self.services.values()}
        return [name for name in self.secrets if patterns.ADDRESS.search(name) and name not in known]

    @property
    def optional(self) -> list[str]:
        """Variables that the sources read where they are set, and fly.toml does not set."""
        given = {*self.env, *self.image_env}
        return [name for name in self.may if name not in given and not patterns.NOT_SECRETS.match(name)]


def look(root: Path) -> Findings:
    """Everything that can be seen in the folder."""
    found = Findings()
    _fly(root, found)
    _image(root, found)
    if found.dockerfile:
        found.copies = copies_of(root, found.dockerfile, module_of(found.command).partition(".")[0], _SKIPPED)
    _sources(root, found)
    for pattern in ("*cors*.json", "deploy/*cors*.json", "*/*cors*.json"):
        found.cors = found.cors or next((str(path.relative_to(root)) for path in sorted(root.glob(pattern))), "")
    return found


def _fly(root: Path, found: Findings) -> None:
    places = [path for pattern in ("fly*.toml", "*/fly*.toml", "*/*/fly*.toml") for path in sorted(root.glob(pattern))]
    places = [path for path in places if not _SKIPPED & set(path.relative_to(root).parts)]
    if not places:
        found.problems.append("there is no fly.toml: `fly launch --no-deploy` writes one")
        return
    # Staging is what a person tries first; a file without a name of an environment comes before another's.
    path = min(places, key=lambda place: ("staging" not in place.name, place.name != "fly.toml"))
    found.fly_config = str(path.relative_to(root))
    if len(places) > 1:
        others = ", ".join(str(place.relative_to(root)) for place in places if place != path)
        found.problems.append(f"several files could be meant: {found.fly_config} was taken, not {others}")
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        found.problems.append(f"{found.fly_config} is not valid TOML: {error}")
        return
    service = _table(data, "http_service") or _older_service(data)
    found.app = str(data.get("app", ""))
    found.port = int(service.get("internal_port", 8080))  # type: ignore[call-overload]
    found.env = {name: str(value) for name, value in _table(data, "env").items()}
    found.groups = {name: str(command) for name, command in _table(data, "processes").items()}
    found.release_command = str(_table(data, "deploy").get("release_command", ""))
    checks = service.get("checks")
    if isinstance(checks, list) and checks:
        found.health_path = str(checks[0].get("path", "/"))
    elif service:
        found.problems.append(
            f"{found.fly_config}: the service has no check, so Fly sends traffic to an app that hangs"
        )
    if not service:
        found.problems.append(f"{found.fly_config}: there is no [http_service]")
    build = _table(data, "build")
    name = str(build.get("dockerfile", ""))
    for place in (path.parent / name, root / name) if name else ():
        if place.is_file():
            found.dockerfile = str(place.resolve().relative_to(root.resolve()))
            break


def _older_service(data: Mapping[str, object]) -> dict[str, object]:
    """The first of ``[[services]]`` as an ``[http_service]``."""
    services = data.get("services")
    one = services[0] if isinstance(services, list) and services and isinstance(services[0], dict) else {}
    return {**one, "checks": one.get("http_checks") or one.get("tcp_checks")} if one else {}


def _table(data: Mapping[str, object], name: str) -> dict[str, object]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}


def _image(root: Path, found: Findings) -> None:
    if not found.dockerfile:
        beside = (Path(found.fly_config).parent / "Dockerfile", Path("Dockerfile"))
        found.dockerfile = next((str(path) for path in beside if (root / path).is_file()), "")
    if not found.dockerfile:
        found.problems.append(
            "there is no Dockerfile: Fly would build with a buildpack, which cannot be reproduced here"
        )
        return
    started = read_dockerfile(root / found.dockerfile)
    found.litestream = started is not None and started.litestream
    web = found.groups.get("web") or found.groups.get("app") or ""
    found.image_command = tuple(web.split()) if web else started.command if started else ()
    if started:
        found.image_command = filled_in(found.image_command, {**started.env, **found.env})
        found.image_env, found.workdir = dict(started.env), started.workdir
    command = process_command(found.image_command, found.port) if found.image_command else None
    if command is None:
        command = _of_script(root, found) or _of_variable(root, found)
    if command is None:
        shown = " ".join(found.image_command) or "nothing"
        found.problems.append(f"{found.dockerfile} starts {shown}: say in [app.process] how that starts as a process")
        return
    found.command = command
    found.directory = _directory(root, Path(found.dockerfile).parent, command)


def _of_script(root: Path, found: Findings) -> list[str] | None:
    """The command of a script such as ``start.sh``: what its last line executes. Migrations before it stay out."""
    words = [word for word in found.image_command if word not in ("sh", "bash", "/bin/sh", "/bin/bash")]
    beside = (root / found.dockerfile).parent
    places = [folder / words[0].lstrip("/") for folder in (beside, root)] if len(words) == 1 else []
    places += [folder / Path(words[0]).name for folder in (beside, root)] if places else []
    path = next((place for place in places if place.suffix == ".sh" and place.is_file()), None)
    if path is None:
        return None
    text = re.sub(r"\\\n", " ", path.read_text("utf-8", "replace"))
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    try:
        last = tuple(shlex.split(lines[-1])) if lines else ()
    except ValueError:
        return None
    variables = {**found.image_env, **found.env}
    return process_command(filled_in(last, variables), found.port) if last else None


def _of_variable(root: Path, found: Findings) -> list[str] | None:
    """``python …`` of a program that reads its port from the variable PORT itself."""
    words = without_entrypoint(found.image_command)
    if not words or not re.fullmatch(r"python[0-9.]*", Path(words[0]).name):
        return None
    read = {name for path in _python(root) for name in _reads(path.read_text("utf-8", "replace"))}
    if "PORT" not in read:
        return None
    found.listens = {"PORT": "{port}", **({"HOST": "{host}"} if "HOST" in read else {})}
    return ["{python}", *words[1:]]


def _reads(text: str) -> list[str]:
    return [*patterns.MUST.findall(text), *patterns.MAY.findall(text)]


def _directory(root: Path, beside: Path, command: list[str]) -> str:
    """The folder in which the module that the command names lies."""
    module = module_of(command)
    path = Path(*module.split(".")) if module else None
    if path is None:
        return str(beside)
    for folder in (beside, Path(), *(one.relative_to(root) for one in _folders(root))):
        place = root / folder / path
        if place.with_suffix(".py").is_file() or (place / "__init__.py").is_file():
            return str(folder)
    return str(beside)


def _folders(root: Path) -> Iterator[Path]:
    for path in sorted(root.glob("*")) + sorted(root.glob("*/*")):
        if path.is_dir() and not _SKIPPED & set(path.relative_to(root).parts):
            yield path


def _sources(root: Path, found: Findings) -> None:
    must: dict[str, None] = {}
    may: dict[str, None] = {}
    boto3 = False
    given: dict[str, str] = {}
    for path in _python(root):
        text = path.read_text("utf-8", "replace")
        relative = str(path.relative_to(root))
        boto3 = boto3 or patterns.BOTO3.search(text) is not None
        for variable, place in patterns.PLACE.findall(text):
            if variable not in found.image_env:  # else process_env gives it another value
                found.places.setdefault(place, relative)
        app = patterns.MODAL_APP.search(text)
        if app and not found.gpu_app:
            found.gpu_app, found.gpu_entry = app[1], relative
        found.gpu_secrets += [name for name in patterns.MODAL_SECRET.findall(text) if name not in found.gpu_secrets]
        if app:  # its functions read the variables of Modal's secrets, no Machine does
            itself = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")  # boto3 reads these where it is given none
            unsaid = itself if patterns.BOTO3.search(text) and "aws_access_key_id" not in text else ()
            found.gpu_reads = sorted({*found.gpu_reads, *_reads(text), *unsaid})
            continue
        for argument, variable, setting in patterns.GIVEN.findall(text):
            given.setdefault(patterns.BOTO3_NAMES[argument.lower()], variable or setting.upper())
        must.update(dict.fromkeys(patterns.MUST.findall(text)))
        may.update(dict.fromkeys(patterns.MAY.findall(text)))
        if patterns.PYDANTIC.search(text):
            for name, rest in patterns.SETTING.findall(text):
                (may if "=" in rest or "None" in rest else must)[name.upper()] = None
    beside = sorted((root / found.gpu_entry).parent.glob("requirements*.txt")) if found.gpu_entry else []
    # A file that the image has too says nothing of the functions.
    found.gpu_requirements = next((str(path.relative_to(root)) for path in beside if path.parent != root), "")
    found.must, found.may = sorted(must), sorted(may.keys() - must)
    known = [*found.must, *found.may, *found.env]
    for ours, pattern in patterns.R2.items():
        # The app's own name for it is often ours; a pattern is only a guess.
        sure = next((name for name in (given.get(ours), ours) if name in known), "")
        theirs = sure or next((name for name in known if pattern.search(name)), "")
        if theirs:
            found.r2[ours] = theirs
    if boto3:  # it reads these by itself
        found.r2.setdefault("R2_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID")
        found.r2.setdefault("R2_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY")
    for service, wanted in patterns.SERVICES.items():
        name = next((name for name in known if wanted.search(name)), "")
        if name:
            found.services[service] = name
    if found.release_command:
        found.migrate = as_process(found.release_command)
    elif (root / found.directory / "alembic.ini").is_file():
        found.migrate = ["{python}", "-m", "alembic", "upgrade", "head"]
    for name, value in found.env.items():
        first = value.split(",")[0].strip()
        parts = urlsplit(first)
        if re.search("ORIGIN|FRONTEND|CORS", name) and parts.scheme == "https" and parts.hostname:
            found.origin_name, found.origin = name, f"https://{parts.netloc}"
            break


def as_process(line: str) -> list[str]:
    """A command line of an image, for a process: the interpreter's programs by ``{python} -m``."""
    words = without_entrypoint(shlex.split(line))
    return ["{python}", *words[1:]] if words[0].startswith("python") else ["{python}", "-m", *words]


def _python(root: Path) -> Iterator[Path]:
    count = 0
    for path in sorted(root.rglob("*.py")):
        if _SKIPPED & set(path.relative_to(root).parts[:-1]) or path.stat().st_size > _MAX_BYTES:
            continue
        count += 1
        if count > _MAX_FILES:
            return
        yield path
