"""Checks of the configuration: fly.toml, the environment of Machines, the requirements and the image."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from parity.checks import Env, Files, Layer, check
from parity.checks.generic import fly_file
from parity.checks.generic.imports import Installed, imported, not_brought, required, source_files
from parity.checks.generic.support import not_declared
from parity.checks.machines import Machines
from parity.checks.stack import Site, Stack, StackError
from parity.config.drift import drift
from parity.config.fly_toml import load_fly_config
from parity.config.parity_toml import load_parity_config
from parity.config.project import machine_environment
from parity.report.engine import Engine, EngineError

# Variables that Fly sets for each Machine.
FLYS_OWN = re.compile(r"FLY_[A-Z_]+|PRIMARY_REGION")
# Files that no image should hold: credentials, a Git repository, databases with people's data.
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
    """The app's fly.toml, parsed."""
    return tomllib.loads(fly_path(checkout).read_text("utf-8"))


def with_variable(line: str) -> Files:
    """A variant that adds this line to [env] of fly.toml."""

    def change(checkout: Path) -> None:
        file = fly_path(checkout)
        text = file.read_text("utf-8")
        if not re.search(r"^\s*\[env\]", text, re.M):
            text += "\n[env]\n"
        file.write_text(re.sub(r"^(\s*\[env\].*)$", rf"\1\n{line}", text, count=1, flags=re.M), "utf-8")

    return Files(f"[env] has {line.partition(' ')[0]}", change)


@check(
    "J",
    "fly.toml has no setting that flyctl or Fly ignores or understands differently than it looks",
    broken=with_variable('kill_timeout = "300s"'),
    because=r"kill_timeout stands in \[env\]",
    fast=True,
)
def test_fly_toml_means_it(checkout: Path) -> None:
    """Correct the file; `fly config show` prints what Fly understood."""
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
    """Set it with `fly secrets set`, and create a new value: the old one is in the repository's history."""
    found = fly_file.exposed(fly_toml(checkout).get("env", {}))
    assert not found, (
        f"{', '.join(found)} stands in [env] of {fly_path(checkout).name}, so everyone who can read the repository"
        " knows it. Set it with `fly secrets set`, and create a new value, because the old one stays in the history"
    )


@check(
    "J",
    "The variables of fly.toml and the secrets have values that can work on Fly, and no name is in both",
    broken=with_variable('PUBLIC_API = "http://localhost:8000"'),
    because="PUBLIC_API",
    fast=True,
)
def test_values_fit(checkout: Path, site: Site) -> None:
    """Correct the value in fly.toml, or in the secrets."""
    env = fly_toml(checkout).get("env", {})
    wrong = [f"{name} is an address on the developer's own machine" for name in fly_file.local(env)]
    wrong += fly_file.unfit(env) + fly_file.unfit(site.project.secrets)
    wrong += [
        f"{name} is in [env] and also a secret, and on Fly the secret wins: remove one of them"
        for name in env
        if name in site.project.secrets
    ]
    assert not wrong, f"{'; '.join(wrong)}. Correct fly.toml or the secrets, else the app starts with these values"


def second_file(checkout: Path) -> None:
    first = fly_path(checkout)
    groups = '\n[processes]\n  app = "serve"\n  worker = "work"\n'
    (first.parent / "fly.another.toml").write_text(first.read_text("utf-8") + groups, "utf-8")


@check(
    "X",
    "Every fly.toml of the repository has the same process groups, volumes and health checks",
    broken=Files("another fly.toml has one more process group", second_file),
    because="no process group (app|worker)",
    fast=True,
)
def test_no_drift(checkout: Path) -> None:
    """Give the fly.toml of every environment the same process groups, volumes and health checks."""
    mine = fly_path(checkout)
    others = [path for path in sorted(mine.parent.glob("fly*.toml")) if path != mine]
    wrong = []
    for path in others:
        one, other = fly_toml(checkout), tomllib.loads(path.read_text("utf-8"))
        wrong += [f"{path.name} has {text}, which {mine.name} has" for text in fly_file.differences(one, other)]
        wrong += [f"{mine.name} has {text}, which {path.name} has" for text in fly_file.differences(other, one)]
    assert not wrong, (
        f"{'; '.join(wrong)}. The other environment runs something that was not checked here: give both files the same"
    )


def another_kill_timeout(checkout: Path) -> None:
    file = fly_path(checkout)
    rest = re.sub(r"^kill_timeout\s*=.*$", "", file.read_text("utf-8"), flags=re.M)
    file.write_text('kill_timeout = "77s"\n' + rest, "utf-8")


@check(
    "X",
    "The Machines run with the size, command, ports, health checks and volumes that fly.toml says",
    broken=Files("fly.toml has another kill_timeout than the Machines", another_kill_timeout),
    because=r"has stop_config\.timeout .*, and fly\.toml says",
    fast=True,
)
async def test_machines_as_in_fly_toml(checkout: Path, stack: Stack) -> None:
    """Start the stack again after a change of fly.toml: parity up. At Fly a deploy does it."""
    project = stack.site.project
    machines = await stack.admin("GET", f"/v1/apps/{project.fly.app}/machines")
    fly = load_fly_config(fly_path(checkout), as_flyctl=project.settings.as_flyctl)
    wrong = drift(fly, machines)
    assert not wrong, (
        f"{'; '.join(wrong)}. So the checks judge another Machine than the one that a deploy makes: start the stack"
        " again (parity up), which makes the Machines from fly.toml"
    )


def dockerfile(checkout: Path) -> Path | None:
    """The Dockerfile that fly.toml names, else the one beside fly.toml, else the one at the root of the checkout."""
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
    files = list(source_files(checkout)) if names else []
    found = [path for name in names for path in files if path.name == name]
    return list(dict.fromkeys([*found, *(checkout / name for name in copied if (checkout / name).is_file())]))


def no_requirements(checkout: Path) -> None:
    for file in requirement_files(checkout):
        file.write_text("", "utf-8")


@check(
    "A",
    "The image's requirements install every module that the sources import",
    broken=Files("requirements are empty", no_requirements),
    because=r"imports .*\. It works here",
    fast=True,
)
def test_requirements_cover_imports(checkout: Path, site: Site) -> None:
    """Add the package to the requirements that the Dockerfile installs, or remove the import."""
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
        f"{'; '.join(wrong)}, but {files[0].name} does not install it. It works here because the package happens to be"
        " installed; in the image it raises ModuleNotFoundError. Add it to the requirements"
    )


@check(
    "J",
    "A Machine's environment holds what fly.toml, the secrets and parity.toml's declared differences say, no more",
    broken=Env({"ONLY_HERE": "1"}),
    because="ONLY_HERE",
    fast=True,
)
async def test_environment(machines: Machines, stack: Stack) -> None:
    """Remove the difference, or declare it in parity.toml with its reason."""
    project, machine = stack.site.project, await machines.first()
    env = (await machines.get(machine))["config"]["env"]
    expected = machine_environment(project)
    wrong = []
    for name, value in expected.items():
        if name not in env:
            wrong.append(f"{name} is missing")
        elif env[name] != value:
            # A secret's value must not be in a message.
            shown = f"is {env[name]!r}, not {value!r}"
            given = "has another value than the secret" if name in project.secrets else shown
            wrong.append(f"{name} {given}")
    undeclared = sorted(name for name in env if name not in expected and not FLYS_OWN.fullmatch(name))
    wrong += [f"{name} is neither in fly.toml nor declared in parity.toml" for name in undeclared]
    assert not wrong, (
        f"{'; '.join(wrong)}. The app was checked here in another environment than Fly gives it: remove the difference,"
        " or declare it in parity.toml with its reason"
    )


@check(
    "A",
    "The image is for linux/amd64 and holds no credentials, Git repository or database",
    broken=Layer({"/app/.env": "R2_ENABLED=true\n", "/app/.git/config": "[core]\n"}),
    because=r"\.env is in the image",
    needs=("docker",),
    alone=True,
    deadline_s=120,
)
async def test_image(stack: Stack) -> None:
    """Exclude the file in .dockerignore; a list of what may enter the image is safer than a list of what may not."""
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
        wrong.append(f"the image is for {platform}, but Fly runs only linux/amd64")
    hidden = {key: value for key, value in project.secrets.items() if fly_file.SENSITIVE.search(key)}
    for entry in image["Config"].get("Env") or []:
        key, _, value = entry.partition("=")
        if key in hidden or (len(value) > 8 and value in hidden.values()):
            wrong.append(f"the image's environment sets {key}, which is a secret")
    assert not wrong, (
        f"{'; '.join(wrong[:10])}. Everyone who can pull the image can read what is in it: exclude files in"
        " .dockerignore, which COPY obeys, and build without secrets in ENV or ARG"
    )
