"""What is written down: fly.toml, the environment of Machines, requirements, the image."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from parity.checks import Env, Files, Layer, check
from parity.checks.generic import fly_file
from parity.checks.generic.imports import Installed, imported, not_brought, required
from parity.checks.generic.support import not_declared
from parity.checks.machines import Machines
from parity.checks.stack import Site, Stack, StackError
from parity.config.parity_toml import load_parity_config
from parity.config.project import machine_environment
from parity.report.engine import Engine, EngineError

# Set by Fly for each Machine; their values differ.
FLYS_OWN = re.compile(r"FLY_[A-Z_]+|PRIMARY_REGION")
# What no image should hold: credentials, a repository, databases with people's data.
FORBIDDEN = re.compile(
    r"(^|/)(\.env($|\.(?!example))|\.git/|\.modal\.toml$|\.aws/credentials$|id_(rsa|ed25519)$)|\.(sqlite3?|key)$"
)
LIST_FILES = (
    "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /usr -o -path /etc -o -path /var/lib -o -path"
    " '*/site-packages' -o -path '*/dist-packages' \\) -prune -o -type f -print"
)
DOCKERFILE = "Dockerfile"


def fly_path(checkout: Path) -> Path:
    return checkout / load_parity_config(checkout / "parity.toml").app.fly_config


def fly_toml(checkout: Path) -> dict[str, Any]:
    """The app's fly.toml as TOML has it."""
    return tomllib.loads(fly_path(checkout).read_text("utf-8"))


def with_variable(line: str) -> Files:
    """A fly.toml whose [env] has one more line."""

    def change(checkout: Path) -> None:
        file = fly_path(checkout)
        text = file.read_text("utf-8")
        if not re.search(r"^\s*\[env\]", text, re.M):
            text += "\n[env]\n"
        file.write_text(re.sub(r"^(\s*\[env\].*)$", rf"\1\n{line}", text, count=1, flags=re.M), "utf-8")

    return Files(f"[env] has {line.partition(' ')[0]}", change)


@check(
    "J",
    "flyctl reads fly.toml as it looks",
    broken=with_variable('kill_timeout = "300s"'),
    because=r"kill_timeout stands in \[env\]",
    fast=True,
)
def test_fly_toml_means_it(checkout: Path) -> None:
    """Correct the file; `fly config show` says what Fly made of it."""
    wrong = fly_file.misread(fly_toml(checkout))
    assert not wrong, f"{fly_path(checkout).name}: {'; '.join(wrong)}"


@check(
    "J",
    "fly.toml holds no secret",
    broken=with_variable('R2_SECRET_ACCESS_KEY = "5ca1ab1e"'),
    because="R2_SECRET_ACCESS_KEY",
    fast=True,
)
def test_no_secret_in_fly_toml(checkout: Path) -> None:
    """Move it to `fly secrets set`, and take a new value: this one has been seen."""
    found = fly_file.exposed(fly_toml(checkout).get("env", {}))
    assert not found, (
        f"{', '.join(found)} in [env] of {fly_path(checkout).name}: the file is in the repository. Use `fly secrets"
        " set`, and take a new value, as this one has been seen"
    )


@check(
    "J",
    "The values of fly.toml's variables, and the names of the secrets, can work on Fly",
    broken=with_variable('PUBLIC_API = "http://localhost:8000"'),
    because="PUBLIC_API",
    fast=True,
)
def test_values_fit(checkout: Path, site: Site) -> None:
    """Correct the value where it is set: fly.toml, or the secrets."""
    env = fly_toml(checkout).get("env", {})
    wrong = [f"{name} is an address on the developer's own machine" for name in fly_file.local(env)]
    wrong += fly_file.unfit(env) + fly_file.unfit(site.project.secrets)
    wrong += [f"{name} is in [env] and a secret too: the secret wins" for name in env if name in site.project.secrets]
    assert not wrong, "; ".join(wrong)


def second_file(checkout: Path) -> None:
    first = fly_path(checkout)
    groups = '\n[processes]\n  app = "serve"\n  worker = "work"\n'
    (first.parent / "fly.another.toml").write_text(first.read_text("utf-8") + groups, "utf-8")


@check(
    "X",
    "Every fly.toml of the repository has the same process groups, volumes and health checks",
    broken=Files("another fly.toml has one more process group", second_file),
    because="no process group",
    fast=True,
)
def test_no_drift(checkout: Path) -> None:
    """Give every environment's file the same groups, volumes and checks."""
    mine = fly_path(checkout)
    others = [path for path in sorted(mine.parent.glob("fly*.toml")) if path != mine]
    wrong = []
    for path in others:
        one, other = fly_toml(checkout), tomllib.loads(path.read_text("utf-8"))
        wrong += [f"{path.name} has {text}, which {mine.name} has" for text in fly_file.differences(one, other)]
        wrong += [f"{mine.name} has {text}, which {path.name} has" for text in fly_file.differences(other, one)]
    assert not wrong, f"{'; '.join(wrong)}: what was checked here is not what runs there"


def dockerfile(checkout: Path) -> Path | None:
    """The Dockerfile that fly.toml names, else the one beside it or at the root."""
    named = (fly_toml(checkout).get("build") or {}).get("dockerfile")
    places = [fly_path(checkout).parent / named] if named else []
    return next(
        (p for p in (*places, fly_path(checkout).parent / DOCKERFILE, checkout / DOCKERFILE) if p.is_file()), None
    )


def requirement_files(checkout: Path) -> list[Path]:
    """The requirements that the Dockerfile installs."""
    file = dockerfile(checkout)
    names = re.findall(r"-r\s*(?:\S*/)?([\w.-]+\.txt)", file.read_text("utf-8")) if file else []
    copied = re.findall(r"COPY\s+(?:--\S+\s+)*(\S+\.txt)\s", file.read_text("utf-8")) if file else []
    found = [path for name in names for path in checkout.rglob(name) if ".venv" not in path.parts]
    return list(dict.fromkeys([*found, *(checkout / name for name in copied if (checkout / name).is_file())]))


def no_requirements(checkout: Path) -> None:
    for file in requirement_files(checkout):
        file.write_text("", "utf-8")


@check(
    "A",
    "All that the sources import is brought by the requirements of the image",
    broken=Files("requirements are empty", no_requirements),
    because="imports",
    fast=True,
)
def test_requirements_cover_imports(checkout: Path, site: Site) -> None:
    """Add the package to the requirements that the Dockerfile installs, or drop the import."""
    process = load_parity_config(checkout / "parity.toml").app.process
    files = requirement_files(checkout)
    if process is None or not files:
        not_declared("the Dockerfile installs no requirements file, or parity.toml does not say where the sources are")
        return
    modules = imported(checkout / process.directory)
    try:
        installed = Installed.of(site.project.python)
    except (OSError, subprocess.SubprocessError) as error:
        raise StackError(f"{site.project.python} cannot say what is installed: {error}") from None
    wrong = not_brought(modules, [name for file in files for name in required(file)], installed)
    assert not wrong, (
        f"{'; '.join(wrong)}: {files[0].name} does not bring it, so it works here and ends in ModuleNotFoundError on"
        " Fly"
    )


@check(
    "J",
    "The environment of a Machine is that of fly.toml, the secrets, and the declared differences; nothing else",
    broken=Env({"ONLY_HERE": "1"}),
    because="ONLY_HERE",
    fast=True,
)
async def test_environment(machines: Machines, stack: Stack) -> None:
    """Declare the difference in parity.toml with its reason, or remove it."""
    project, machine = stack.site.project, await machines.first()
    env = (await machines.get(machine))["config"]["env"]
    expected = machine_environment(project)
    wrong = []
    for name, value in expected.items():
        if name not in env:
            wrong.append(f"{name} is missing")
        elif env[name] != value:
            given = "another value than the file's" if name in project.secrets else f"{env[name]!r}, not {value!r}"
            wrong.append(f"{name} is {given}")
    undeclared = sorted(name for name in env if name not in expected and not FLYS_OWN.fullmatch(name))
    wrong += [f"{name} is neither in fly.toml nor declared in parity.toml" for name in undeclared]
    assert not wrong, f"{'; '.join(wrong)}: what was checked here is not what runs on Fly"


@check(
    "A",
    "The image runs on Fly and holds no credentials, repository or database",
    broken=Layer({"/app/.env": "R2_ENABLED=true\n", "/app/.git/config": "[core]\n"}),
    because=r"\.env is in the image",
    needs=("docker",),
    alone=True,
    deadline_s=120,
)
async def test_image(stack: Stack) -> None:
    """Leave it out in .dockerignore; a whitelist is the safer form."""
    release, project, engine = await stack.admin("GET", "/fly/release"), stack.site.project, Engine()
    name = release.get("image") or project.image
    try:
        image = engine.image(name)
        listing = engine.run_and_read(name, ["sh", "-c", LIST_FILES])
    except EngineError as error:
        raise StackError(str(error)) from None
    wrong = [f"{path} is in the image" for line in listing.splitlines() if FORBIDDEN.search(path := line.strip())]
    platform = f"{image['Os']}/{image['Architecture']}"
    if platform != "linux/amd64":
        wrong.append(f"it is for {platform}: Fly runs linux/amd64 only")
    hidden = {key: value for key, value in project.secrets.items() if fly_file.SENSITIVE.search(key)}
    for entry in image["Config"].get("Env") or []:
        key, _, value = entry.partition("=")
        if key in hidden or (len(value) > 8 and value in hidden.values()):
            wrong.append(f"its environment sets {key}: a secret is baked in")
    assert not wrong, f"{'; '.join(wrong[:10])}. What .dockerignore does not leave out, COPY takes along"
