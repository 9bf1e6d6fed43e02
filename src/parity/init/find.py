"""Looks at a repository: its fly.toml, Dockerfile, requirements and sources. Nothing is run and nothing is written."""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from parity.init.copies import Copies, copies_of
from parity.init.docker import filled_in, module_of, process_command, read_dockerfile

_SKIPPED = frozenset(
    {".git", ".venv", "venv", "node_modules", ".parity", "__pycache__", "site-packages", "tests", "test"}
)
_MAX_FILES, _MAX_BYTES = 3000, 400_000
# What reads an environment variable in Python, by the common spellings: one that must be there, one that may.
_MUST = re.compile(r"""environ\s*\[\s*["']([A-Z][A-Z0-9_]{2,})["']""")
_MAY = re.compile(
    r"""(?:environ\.get|environ\.setdefault|getenv|\bconfig|\benv(?:\.str|\.bool|\.int)?)
        \s*\(\s*["']([A-Z][A-Z0-9_]{2,})["']""",
    re.VERBOSE,
)
# A field of pydantic's settings; one with a default may be left out.
_SETTING = re.compile(
    r"^    ([a-zA-Z][a-zA-Z0-9_]{2,})\s*:\s*(?:str|SecretStr|int|bool|[A-Z]\w*Url|Optional|Annotated)([^\n]*)", re.M
)
_MODAL_APP = re.compile(r"modal\.(?:App|Stub)\(\s*(?:name\s*=\s*)?[\"']([^\"']+)[\"']")
_MODAL_SECRET = re.compile(r"Secret\.from_name\(\s*[\"']([^\"']+)[\"']")
_BOTO3 = re.compile(r"^\s*(?:import|from)\b[^\n]*\b(?:aio)?boto(?:3|core)\b", re.M)
_PYDANTIC = re.compile(r"class \w+\((?:pydantic_settings\.)?BaseSettings\)")
_R2 = {
    "R2_ENDPOINT": re.compile(r"(R2|S3|AWS|BUCKET|STORAGE|CLOUDFLARE).*(ENDPOINT|URL)|ENDPOINT_URL"),
    "R2_ACCESS_KEY_ID": re.compile(
        r"(R2|S3|AWS|BUCKET|STORAGE|CLOUDFLARE|ACCESS).*(ACCESS_KEY|KEY_ID)(?!.*SECRET)|(^|_)(R2|S3)_KEY$"
    ),
    "R2_SECRET_ACCESS_KEY": re.compile(r"(R2|S3|AWS|BUCKET|STORAGE|CLOUDFLARE).*SECRET"),
    "R2_BUCKET": re.compile(r"BUCKET(_NAME)?$|^(R2|S3)_BUCKET"),
}
_SERVICES = {"postgres": re.compile(r"DATABASE_URL|POSTGRES(QL)?_UR[LI]|PG_?DSN"), "redis": re.compile(r"REDIS_UR[LI]")}
# A folder outside of the app's own, as a text of the source.
_PLACE = re.compile(r"""["'](/(?:data|tmp|var|mnt)(?:/[\w./-]*)?)["']""")
# The address of something else that the app asks.
_ADDRESS = re.compile(r"_(URL|URI|ENDPOINT|HOST|BASE|API|DSN)$")
# What fly.toml's [env] calls the environment, and how environments are called.
_ENVIRONMENT = re.compile(r"(^|_)(ENV|ENVIRONMENT|STAGE)$")
_ENVIRONMENTS = re.compile(r"(dev|development|test|qa|preview|staging|stage|prod|production|live)[a-z0-9-]*", re.I)
# Set by Fly, the shell or Python itself: no secret of the app.
_NOT_SECRETS = re.compile(
    r"^(FLY_.*|PORT|HOST|HOME|PATH|PYTHON.*|PRIMARY_REGION|TZ|LANG|DEBUG|LOG_LEVEL|TMPDIR|GIT_.*)$"
)


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
        """Variables that the sources cannot do without and fly.toml does not give."""
        given = {*self.env, *self.image_env}
        return [name for name in self.must if name not in given and not _NOT_SECRETS.match(name)]

    def meant_by(self, name: str) -> str:
        """The Machine's variable that a variable of a GPU function, such as ``BUCKET_KEY``, most likely is."""
        kinds = {"R2_BUCKET": "BUCKET(_NAME)?$", "R2_SECRET_ACCESS_KEY": "SECRET", "R2_ACCESS_KEY_ID": "KEY",
                 "R2_ENDPOINT": "ENDPOINT|URL|HOST|(R2|S3)$"}  # fmt: skip
        return next((self.r2[ours] for ours, word in kinds.items() if re.search(word, name) and ours in self.r2), "")

    @property
    def process_env(self) -> dict[str, str]:
        """What the image's ENV gives the app, with paths that lie in a Machine's own folder."""
        read = {name: value for name, value in self.image_env.items() if name in {*self.must, *self.may} - {*self.env}}
        return {name: self._own(value) for name, value in read.items() if not _NOT_SECRETS.match(name)}

    def _own(self, value: str) -> str:
        if not value.startswith("/"):
            return value
        below = posixpath.relpath(value, self.workdir)
        return value.lstrip("/") if below.startswith("..") else below

    @property
    def environment(self) -> str:
        """What fly.toml calls the environment, such as ``staging``; empty where it does not say it."""
        named = (value for name, value in self.env.items() if _ENVIRONMENT.search(name))
        return next((value for value in named if _ENVIRONMENTS.fullmatch(value)), "")

    @property
    def outside(self) -> list[str]:
        """Secrets that look like the address of something else: another service, or an API of others."""
        known = {*self.r2.values(), *self.services.values()}
        return [name for name in self.secrets if _ADDRESS.search(name) and name not in known]

    @property
    def optional(self) -> list[str]:
        """Variables that the sources read where they are set, and fly.toml does not set."""
        given = {*self.env, *self.image_env}
        return [name for name in self.may if name not in given and not _NOT_SECRETS.match(name)]


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
    service = _table(data, "http_service")
    found.app = str(data.get("app", ""))
    found.port = int(service.get("internal_port", 8080))  # type: ignore[call-overload]
    found.env = {name: str(value) for name, value in _table(data, "env").items()}
    found.groups = {name: str(command) for name, command in _table(data, "processes").items()}
    found.release_command = str(_table(data, "deploy").get("release_command", ""))
    checks = service.get("checks")
    if isinstance(checks, list) and checks:
        found.health_path = str(checks[0].get("path", "/"))
    else:
        found.problems.append(
            f"{found.fly_config}: http_service has no check, so Fly sends traffic to an app that hangs"
        )
    if not service:
        found.problems.append(f"{found.fly_config}: there is no [http_service]")
    build = _table(data, "build")
    name = str(build.get("dockerfile", ""))
    for place in (path.parent / name, root / name) if name else ():
        if place.is_file():
            found.dockerfile = str(place.resolve().relative_to(root.resolve()))
            break


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
        shown = " ".join(found.image_command) or "nothing"
        found.problems.append(f"{found.dockerfile} starts {shown}: say in [app.process] how that starts as a process")
        return
    found.command = command
    found.directory = _directory(root, Path(found.dockerfile).parent, command)


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
    for path in _python(root):
        text = path.read_text("utf-8", "replace")
        relative = str(path.relative_to(root))
        boto3 = boto3 or _BOTO3.search(text) is not None
        for place in _PLACE.findall(text):
            found.places.setdefault(place, relative)
        app = _MODAL_APP.search(text)
        if app and not found.gpu_app:
            found.gpu_app, found.gpu_entry = app[1], relative
        found.gpu_secrets += [name for name in _MODAL_SECRET.findall(text) if name not in found.gpu_secrets]
        if app:  # its functions read the variables of Modal's secrets, no Machine does
            found.gpu_reads = sorted({*found.gpu_reads, *_MUST.findall(text), *_MAY.findall(text)})
            continue
        must.update(dict.fromkeys(_MUST.findall(text)))
        may.update(dict.fromkeys(_MAY.findall(text)))
        if _PYDANTIC.search(text):
            for name, rest in _SETTING.findall(text):
                (may if "=" in rest or "None" in rest else must)[name.upper()] = None
    beside = sorted((root / found.gpu_entry).parent.glob("requirements*.txt")) if found.gpu_entry else []
    # A file that the image has too says nothing of the functions.
    found.gpu_requirements = next((str(path.relative_to(root)) for path in beside if path.parent != root), "")
    found.must, found.may = sorted(must), sorted(may.keys() - must)
    known = [*found.must, *found.may, *found.env]
    for ours, pattern in _R2.items():
        # The app's own name for it is often ours; a pattern is only a guess.
        theirs = ours if ours in known else next((name for name in known if pattern.search(name)), "")
        if theirs:
            found.r2[ours] = theirs
    if boto3:  # it reads these by itself
        found.r2.setdefault("R2_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID")
        found.r2.setdefault("R2_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY")
    for service, wanted in _SERVICES.items():
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
    words = line.split()
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
