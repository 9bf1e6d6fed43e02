"""``parity check`` and ``parity compare``: pytest on the generic checks and the app's own."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import metadata
from pathlib import Path

import click
import pytest

from parity.checks.catalogue import Catalogue, list_lines
from parity.config.errors import ConfigError
from parity.config.project import Project
from parity.report.compare import compare_lines
from parity.report.findings import Findings, Verdict
from parity.report.html import html_page
from parity.report.identity import current_identity
from parity.report.ran import images_that_ran, release_newer_build
from parity.report.receipt import ReceiptResult, write_receipt
from parity.stack.target import Target, refuse_other_stack

HERE = Path(__file__).parent
GENERIC = HERE / "generic"
FILE = click.Path(dir_okay=False, path_type=Path)
LOCAL = "local"
NO_RECEIPT = "Machines ran the working tree (parity dev), which is not what would ship"
IMAGE_AGAIN = "`parity up` puts the image back"
# Most of a check's time is waiting: for a Machine that boots, a slow R2, a stop. So there are more than there are CPUs.
WORKERS = 3
TOOLS_NAMED = ("httpx", "playwright", "pytest", "websockets", "modal", "boto3", "moto")


@click.command(
    "check",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True},
    epilog="Exit codes: 0 every check that ran passed, 1 a check failed or a broken variant was not caught, 2 "
    "interrupted, 4 wrong arguments or configuration, 5 no check selected, 6 no check failed, but one has no verdict.",
)
@click.option(
    "--target",
    default=LOCAL,
    metavar="NAME",
    help="A target of parity.toml: run the checks that are safe on a deployed app. Default: local.",
)
@click.option("--prove", is_flag=True, help="Also run each check on its broken variant, where it must fail.")
@click.option(
    "--mutants",
    metavar="FILE",
    help="Put each mistake of FILE into the app, one at a time. Some check must fail for each.",
)
@click.option("--fast", is_flag=True, help="Run only the checks that take a second or two.")
@click.option(
    "-n",
    "workers",
    type=click.IntRange(1),
    help=f"How many checks run at the same time. Default: {WORKERS} for a whole run on the local stack, else 1.",
)
@click.option("--list", "listing", is_flag=True, help="List the checks and run none.")
@click.option("--junit", type=FILE, help="Write the results as JUnit XML.")
@click.option(
    "--html", type=FILE, help="Where to write the results as a page. Default: checks.html in the state folder."
)
@click.option(
    "--receipt",
    type=FILE,
    help="Where to write the receipt. Default: receipts/latest.json in the state folder, after a whole local run.",
)
@click.argument("pytest_args", nargs=-1, type=click.UNPROCESSED)
def check(
    target: str,
    prove: bool,
    mutants: str | None,
    fast: bool,
    workers: int | None,
    listing: bool,
    junit: Path | None,
    html: Path | None,
    receipt: Path | None,
    pytest_args: tuple[str, ...],
) -> None:
    """Run the checks and report the verdict of each.

    PYTEST_ARGS are passed to pytest, for example -k EXPRESSION, -x, --lf, --tb=short, --pdb, or files.
    """
    project = Project.load()
    if listing:
        click.echo("\n".join(list_lines(catalogue(project, pytest_args))))
        return
    where = target_of(project, target)
    # Building the image of the checks also rebuilds the app's image. The run must check this newest build.
    newest = release_newer_build(where.admin_url) if where.driver == "docker" and where.admin_url else ""
    if newest:
        click.echo(newest)
    found = project.settings.state_dir / "checks" / "last.json"
    found.unlink(missing_ok=True)
    options = [f"--parity-target={target}", f"--parity-results={found}"]
    options += [option for option, wanted in (("--prove", prove), ("--fast", fast)) if wanted]
    options += [f"--junitxml={junit}"] if junit else []
    options += [f"--mutants={project.path(mutants)}"] if mutants else []
    if (workers := workers or (1 if pytest_args or where.driver == "live" else WORKERS)) > 1:
        # One check at a time goes to each worker: some take a hundred times as long as others.
        options += [f"-n{workers}", "--maxschedchunk=1"]
    code = run_pytest(project, [*options, *pytest_args])
    if found.exists():
        findings = Findings.read(found)
        page = html or project.settings.state_dir / "checks.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(html_page(findings), "utf-8")
        click.echo(f"page: {page}")
        whole = not fast and not mutants and not pytest_args
        if receipt or (whole and where.driver != "live"):
            file = receipt or project.settings.state_dir / "receipts" / "latest.json"
            if leave_receipt(file, project, where, findings):
                click.echo(f"receipt: {file}")
            elif receipt:
                raise ConfigError("--receipt", NO_RECEIPT, fix=IMAGE_AGAIN)
            else:
                click.echo(f"no receipt: {NO_RECEIPT}; {IMAGE_AGAIN}")
    raise SystemExit(code)


def target_of(project: Project, name: str) -> Target:
    """The target of that name.

    Raises ``ConfigError`` for a target that parity.toml does not define, and ``StackError`` where the stack that runs
    on this checkout's ports belongs to another checkout.
    """
    if name != LOCAL:
        return Target.live(project, name)
    refuse_other_stack(os.environ)
    return Target.from_environment()


def leave_receipt(file: Path, project: Project, target: Target, findings: Findings) -> bool:
    """Write the receipt that a promotion requires. Returns False, and writes none, where Machines ran the working tree.

    The receipt also lists every known check (``known``), so that a promotion notices a run of only some checks.
    """
    if not target.admin_url:
        raise ConfigError("--receipt", "a deployed app leaves no receipt", "the local stack")
    # The images that the Machines ran: the image's name may mean a newer build by now.
    ran = images_that_ran(target.admin_url, findings.began)
    if ran.dev:
        return False
    proofs = {one.name: one for one in findings.found if one.proof}
    results = [
        ReceiptResult(
            one.name,
            one.title,
            one.kind,
            str(one.verdict),
            (one.reason,) if one.reason else (),
            one.seconds,
            proofs[one.name].verdict is Verdict.CAUGHT if one.name in proofs else None,
        )
        for one in findings.found
        if not one.proof
    ]
    write_receipt(
        file,
        target=findings.target,
        driver=findings.driver,
        identity=current_identity(project, ran),
        ran=ran,
        results=results,
        known=[one.name for one in catalogue(project).listed],
        tools=versions(),
    )
    return True


def versions() -> dict[str, str]:
    """Versions of the tools that the checks use."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in TOOLS_NAMED}}


@click.command("compare")
@click.argument("one")
@click.argument("other")
@click.argument("pytest_args", nargs=-1, type=click.UNPROCESSED)
def compare(one: str, other: str, pytest_args: tuple[str, ...]) -> None:
    """Run the checks that are safe for a deployed app on two targets, and show where they differ.

    Exit code 0: they agree. 1: they differ. Targets are local and those of parity.toml.
    """
    project = Project.load()
    found = []
    for name in (one, other):
        file = project.settings.state_dir / "checks" / f"compare-{name}.json"
        file.unlink(missing_ok=True)
        code = run_pytest(project, [f"--parity-target={name}", "--live-only", f"--parity-results={file}", *pytest_args])
        if not file.exists():
            raise SystemExit(code)
        found.append(Findings.read(file))
    lines, differ = compare_lines(*found)
    click.echo("\n".join(lines))
    raise SystemExit(1 if differ else 0)


def run_pytest(project: Project, arguments: Sequence[str], plugins: Sequence[object] = ()) -> int:
    """Run pytest on the checks, and return its exit code.

    pytest ignores the configuration and plugins of the app's repository. Without paths in ``arguments`` it runs the
    generic checks and the app's own.
    """
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.path.insert(0, str(HERE.parents[1]))
    state = project.settings.state_dir
    options = [
        f"-c{HERE / 'pytest.ini'}",
        f"--rootdir={project.settings.root}",
        f"-ocache_dir={state / 'checks' / 'pytest-cache'}",
        "-pxdist.plugin",
        "--quiet",
        "--no-header",
        "--tb=no",
        "-rN",
    ]
    paths = [] if any(_is_path(word) for word in arguments) else default_paths(project)
    return int(pytest.main([*options, *arguments, *paths], plugins=list(plugins)))


def default_paths(project: Project) -> list[str]:
    """The folder of the generic checks, and that of the app's own checks where there is one."""
    own = project.parity.checks.folder
    return [str(GENERIC), *([str(project.path(own))] if own else [])]


def _is_path(word: str) -> bool:
    return not word.startswith("-") and ("::" in word or word.endswith(".py") or ("/" in word and Path(word).exists()))


def catalogue(project: Project, arguments: Sequence[str] = ()) -> Catalogue:
    """All checks, read from their marks by pytest's collection. Needs no stack. Exits where the collection fails."""
    found = Catalogue()
    with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing):
        code = run_pytest(project, ["--collect-only", *arguments], [found])
    if code not in (0, int(pytest.ExitCode.NO_TESTS_COLLECTED)):
        run_pytest(project, ["--collect-only", "--tb=short", *arguments])
        raise SystemExit(code)
    return found
