"""The pytest plugin: options, collection, ``--prove``, verdicts. ``-p parity.checks.plugin`` loads it.

``--prove`` uses pytest's parametrization: each check has two tests, ``as-it-is`` and ``broken``. So ``-k``,
pytest-xdist, JUnit and editors work without changes. A separate runner for proofs was tried before and needed all of
them again.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import shutil
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from parity.checks import again, evidence, fixtures, patience
from parity.checks.doing import saying
from parity.checks.loading import importable, load_contract, load_mutants
from parity.checks.localhost import resolve_localhost
from parity.checks.mark import About
from parity.checks.outcome import DURING, Ended, exit_code, status_letters
from parity.checks.session import RUN, Run
from parity.checks.stack import Site
from parity.checks.stage import Stage
from parity.checks.variants import Change, Mutant
from parity.checks.verdict import AsItIs, NotDeclared, NotJudged, NotShown, Void, judge
from parity.config.errors import ConfigError
from parity.config.project import Project
from parity.contract import FullContract
from parity.report.findings import Collected, Findings, Verdict
from parity.report.summary import summary_lines
from parity.stack.target import Target, local_project

BROKEN, AS_IT_IS = "broken", "as-it-is"
LOCAL = "local"
SKIPS = {Verdict.NOT_DECLARED: NotDeclared, Verdict.NOT_SHOWN: NotShown, Verdict.NOT_JUDGED: AsItIs}
GENERIC = Path(__file__).parent / "generic"
MUTANTS = pytest.StashKey[Sequence[Mutant]]()
COLLECTED = pytest.StashKey[Collected]()
# The folder of the app's own checks; None where parity.toml names none, or cannot be read.
OWN = pytest.StashKey[Path | None]()
RUN_FOLDER = "parity_run_folder"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("parity", "checks of a backend (docs/checks.md)")
    group.addoption(
        "--parity-target", metavar="NAME", help="local, or a target of parity.toml; without it no check runs"
    )
    group.addoption("--parity-contract", type=Path, metavar="FILE", help="instead of [checks] contract of parity.toml")
    group.addoption("--parity-out", type=Path, metavar="DIR", help="evidence of failures; default: the state folder")
    group.addoption("--parity-results", type=Path, metavar="FILE", help="write what the checks found there, as JSON")
    group.addoption("--prove", action="store_true", help="also run each check against its broken variant")
    group.addoption("--mutants", type=Path, metavar="FILE", help="the mistakes of FILE in place of broken variants")
    group.addoption("--fast", action="store_true", help="only the checks that take a second or two")
    group.addoption("--live-only", action="store_true", help="only the checks that may run against a deployed app")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "check(kind, title, …): a check of the app; see parity.checks.check")
    config.pluginmanager.register(fixtures, "parity-fixtures")
    config.pluginmanager.register(again, "parity-again")
    config.stash[COLLECTED], config.stash[OWN] = Collected(), None
    config.stash[MUTANTS] = load_mutants(file) if (file := config.getoption("--mutants")) else ()
    config.pluginmanager.register(_Xdist(config), "parity-xdist")
    config.pluginmanager.register(_PlainRuns(), "parity-plain-runs")
    name = config.getoption("--parity-target")
    with contextlib.suppress(ConfigError):  # without a target the checks are only listed
        project = Project.load()
        if project.parity.checks.folder:
            config.stash[OWN] = folder = project.path(project.parity.checks.folder)
            importable(folder)
    if name is None:
        return
    try:
        config.stash[RUN] = run = _run(config, name)
    except ConfigError as error:
        raise pytest.UsageError(str(error)) from None
    resolve_localhost(patch := pytest.MonkeyPatch())
    config.add_cleanup(patch.undo)
    patience.look(run.site.target.admin_url)
    if (config.getoption("--prove") or config.stash[MUTANTS]) and config.stash[RUN].site.live:
        raise pytest.UsageError("--prove breaks the app on purpose: leave it out for a deployed one")


def pytest_unconfigure(config: pytest.Config) -> None:
    if RUN in config.stash and not _is_worker(config):
        shutil.rmtree(config.stash[RUN].folder, ignore_errors=True)


def _run(config: pytest.Config, name: str) -> Run:
    """Raises ``ConfigError``."""
    if name == LOCAL:
        project, target = local_project(os.environ)[0], Target.from_environment()
    else:
        project = Project.load()
        target = Target.live(project, name)
    given: Path | None = config.getoption("--parity-contract")
    file = given or project.path(project.parity.checks.contract)
    if given is None and not project.parity.checks.contract:
        raise ConfigError("parity.toml: checks.contract", "no contract is named", 'contract = "src/checks/contract.py"')
    contract = saying(load_contract(file))
    folder = Path(_shared_folder(config))
    out: Path = config.getoption("--parity-out") or project.settings.state_dir
    return Run(Site(target, project, _origin(project, contract)), contract, folder, out)


def _origin(project: Project, contract: type[FullContract]) -> str | None:
    return getattr(contract, "origin", project.parity.app.frontend_origin or None)


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _shared_folder(config: pytest.Config) -> str:
    """The run's folder. The main process creates it, and pytest-xdist's workers receive its path."""
    if _is_worker(config):
        return str(config.workerinput[RUN_FOLDER])  # type: ignore[attr-defined]
    return tempfile.mkdtemp(prefix="parity-checks-")


class _Xdist:
    """Hooks that pytest-xdist calls in the process that starts its workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        if RUN in node.config.stash:
            node.workerinput[RUN_FOLDER] = str(node.config.stash[RUN].folder)

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """A worker process died during a check. Record an error, so that checks that rest on it do not wait for it."""
        run = self._config.stash.get(RUN, None)
        if run is None or (entry := run.plan().get(crashitem)) is None:
            return
        reason = "the process that ran the check ended in the middle of it (killed, out of memory, or os._exit)"
        report.when = "setup"  # JUnit counts a failure outside the call phase as an error
        report.parity = {**entry, "verdict": Verdict.ERROR.value, "reason": reason}  # type: ignore[attr-defined]
        if not entry["proof"]:
            run.tell(entry["name"], crashitem, Verdict.ERROR)


# --- collection


class _PlainRuns:
    """Keeps the check as it is in the run when a selection (``-k``, ``--lf``) leaves only its proof or mutant.

    A proof counts only where the check as it is passed. ``-k`` with the name of a mutant matches no plain run. This is
    registered after pytest's own plugins, so it sees what all of them left.
    """

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, None, None]:
        before = list(items)
        yield
        chosen = set(items)
        proven = {name_of(item) for item in chosen if About.of(item) and is_proof(item)}
        if missing := {i for i in before if i not in chosen and not is_proof(i) and name_of(i) in proven}:
            ordered = [item for item in before if item in missing]
            items[:] = [*ordered, *items]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    about = About.of(metafunc.definition)
    if about is None:
        return
    variants: dict[str, Change | Mutant | None] = {AS_IT_IS: None}
    if metafunc.config.stash[MUTANTS]:
        name = metafunc.definition.originalname
        variants |= {one.name: one for one in metafunc.config.stash[MUTANTS] if one.caught_by == name}
    elif about.broken is not None and metafunc.config.getoption("--prove"):
        variants[BROKEN] = about.broken
    if len(variants) > 1:
        if "variant" not in metafunc.fixturenames:
            metafunc.fixturenames.append("variant")
        metafunc.parametrize("variant", list(variants.values()), ids=list(variants), indirect=True)


def variant_of(item: pytest.Item) -> Change | Mutant | None:
    """The broken variant or mutant of ``item``; None for a check of the app as it is."""
    callspec = getattr(item, "callspec", None)
    found: Change | Mutant | None = callspec.params.get("variant") if callspec is not None else None
    return found


def is_proof(item: pytest.Item) -> bool:
    """Whether ``item`` runs a check on a broken variant or mutant."""
    return variant_of(item) is not None


def name_of(item: pytest.Item) -> str:
    """The name of the check: its function's name, without pytest's parameters."""
    return str(getattr(item, "originalname", item.name))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Select and sort the checks.

    Order: first the checks that others rest on, then those that share the stack, then those that run alone. Broken
    variants come last. Among checks that share the stack, those with their own Machine begin first: they take longest.
    """
    known = [(item, about) for item in items if (about := About.of(item))]
    _refuse_mistakes(items, config.stash[OWN])
    fast, live = config.getoption("--fast"), config.getoption("--live-only")
    left_out = {item for item, about in known if (fast and not about.fast) or (live and not about.live)}
    if mutants := config.stash[MUTANTS]:
        needed = {one.caught_by for one in mutants}
        left_out |= {item for item, _ in known if name_of(item) not in needed}
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=list(left_out))
    names = {name_of(item) for item, _ in known}
    if any(Path(arg).resolve() == GENERIC for arg in config.args):  # otherwise not all names of checks are known
        for item, about in known:
            if unknown := [name for name in about.rests_on if name not in names]:
                raise pytest.UsageError(f"{item.nodeid}: rests_on names no check: {', '.join(unknown)}")
    depth = _depths({name_of(item): about.rests_on for item, about in known})
    controls = {name for _, about in known for name in about.rests_on}

    def order(item: pytest.Item) -> tuple[bool, bool, bool, bool, int]:
        about, name = About.of(item), name_of(item)
        alone, apart = (about.alone, about.apart) if about is not None else (False, False)
        return is_proof(item), name not in controls, alone, not apart, depth.get(name, 0)

    items.sort(key=order)


def _refuse_mistakes(items: Sequence[pytest.Item], own: Path | None) -> None:
    """Raises ``UsageError`` for a test in the folder of checks that is no check, and for two checks of the same name.

    A test without the mark has no verdict, so a promotion would not notice its failure. Verdicts are known by name. An
    editor collects the unit tests too; they lie elsewhere and are left alone.
    """
    where: dict[str, str] = {}
    for item in items:
        place = item.nodeid.partition("[")[0]
        if About.of(item) is None:
            if (
                not isinstance(item, pytest.Function)
                or own is None
                or not item.path.resolve().is_relative_to(own.resolve())
            ):
                continue
            raise pytest.UsageError(f"{place} is no check: decorate it with @check(…), or give it a name without test")
        if (other := where.setdefault(name_of(item), place)) != place:
            raise pytest.UsageError(f"two checks are called {name_of(item)}: {other} and {place}. Rename one of them")


def _depths(rests_on: dict[str, tuple[str, ...]]) -> dict[str, int]:
    """For each check, the length of its longest chain of ``rests_on``. Raises ``UsageError`` for a cycle."""
    found: dict[str, int] = {}

    def depth(name: str, above: tuple[str, ...]) -> int:
        if name in above:
            raise pytest.UsageError(f"checks rest on each other: {' → '.join((*above, name))}")
        if name not in found:
            below = [depth(other, (*above, name)) for other in rests_on.get(name, ()) if other in rests_on]
            found[name] = 1 + max(below) if below else 0
        return found[name]

    for name in rests_on:
        depth(name, ())
    return found


def pytest_collection_finish(session: pytest.Session) -> None:
    if RUN in session.config.stash:
        run = session.config.stash[RUN]
        run.planned |= {(name_of(i), is_proof(i)): about for i in session.items if (about := About.of(i))}
        run.times.update(name_of(i) for i in session.items if About.of(i) and not is_proof(i))
        if session.items:
            plan = {i.nodeid: begun(i, about).as_dict() for i in session.items if (about := About.of(i))}
            run.keep_plan(plan)


def begun(item: pytest.Item, about: About) -> Ended:
    """The entry of a test that has not ended yet, without a verdict."""
    variant = str(variant_of(item) or about.broken or "")
    return Ended(name_of(item), about, is_proof(item), to_do(item), variant)


# --- running


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a check that cannot be run or judged, before any of its fixtures is created."""
    if (about := About.of(item)) is None:
        return
    if (run := item.config.stash.get(RUN, None)) is None:
        raise NotShown("no target is given: use --parity-target local, or parity check")
    if absent := run.absent(about.needs):
        raise NotDeclared(f"neither the contract nor parity.toml says: {', '.join(absent)}")
    if why := run.not_here(about):
        raise NotShown(why)
    if is_proof(item):
        _needs_its_plain_run(item, run)
    for name in about.rests_on:
        verdict = run.verdict(name)
        if verdict not in (
            None,
            Verdict.PASSED,
            Verdict.NOT_DECLARED,
            *((Verdict.NOT_SHOWN,) if run.site.live else ()),
        ):
            if verdict is Verdict.NOT_SHOWN:  # the app is not to blame, so the run may still end well
                raise NotShown(f"it rests on {name}, which cannot be shown here")
            raise NotJudged(f"it rests on {name}, which is {verdict}")


def _needs_its_plain_run(item: pytest.Item, run: Run) -> None:
    """Raises ``Void`` where the check did not pass on the app as it is: a failure on a variant then proves nothing.

    Raises the exception of the plain run's verdict where that run was skipped.
    """
    variant = variant_of(item)
    if variant is not None and not isinstance(variant, Mutant):
        Stage.plain_of([variant], run.named)
    match run.verdict(name_of(item)):
        case Verdict.PASSED:
            return
        case None:
            raise Void("the check as it is was not run")
        case Verdict.NOT_DECLARED | Verdict.NOT_SHOWN | Verdict.NOT_JUDGED as verdict:
            raise SKIPS[verdict](f"the check as it is: {verdict}")
        case verdict:
            raise Void(f"the check as it is: {verdict}")


# --- what a result means


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    about, run = About.of(item), item.config.stash.get(RUN, None)
    if about is None or run is None or again.is_disturbed(item, call):
        return report
    verdict, reason = judge(
        call.excinfo.value if call.excinfo else None,
        in_test=call.when == "call",
        because=because_of(item, about),
    )
    ended = item.stash.setdefault(DURING, begun(item, about))
    ended.add(verdict, run.clean(reason), report.duration - _waited(item, call))
    folder, left = fixtures.evidence_folder(item), ended.evidence
    ended.change(report, verdict, evidence=folder)
    if ended.bad:
        item.stash[fixtures.REASON] = run.clean(f"{ended.verdict}: {ended.reason}\n\n{report.longrepr or ''}")
        if ended.evidence and not left:
            evidence.leave_reason(folder, item.stash[fixtures.REASON])
    elif report.when == "teardown":
        evidence.forget(folder)
    report.longrepr = run.clean_longrepr(report.longrepr)
    if report.when == "teardown" and not ended.proof and ended.verdict is not None:
        run.tell(ended.name, item.nodeid, ended.verdict)
    report.parity = ended.as_dict()  # type: ignore[attr-defined]  # pytest-xdist carries it over
    return report


def because_of(item: pytest.Item, about: About) -> str | None:
    """The pattern that the reason of ``item``'s failure must match; None for a check of the app as it is."""
    variant = variant_of(item)
    if isinstance(variant, Mutant):
        return variant.because or about.because
    return about.because if variant is not None else None


def to_do(item: pytest.Item) -> str:
    """What to do when the check fails: the test's docstring, which the decorator requires."""
    return " ".join((inspect.getdoc(getattr(item, "function", None)) or "").split())


def _waited(item: pytest.Item, call: pytest.CallInfo[None]) -> float:
    return item.stash.get(fixtures.WAITED, 0.0) if call.when == "setup" else 0.0


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    return status_letters(report)


# --- the end


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.pluginmanager.register(_Reports(session.config), "parity-reports")


class _Reports:
    """Collects the results in the main process, and writes the summary and the JSON file."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if entry := getattr(report, "parity", None):
            self._config.stash[COLLECTED].add(report.nodeid, entry)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if not _is_worker(self._config):
            verdicts = self._config.stash[COLLECTED].verdicts()
            session.exitstatus = exit_code(int(exitstatus), verdicts)
            if file := self._config.getoption("--parity-results"):
                self._findings(int(session.exitstatus)).write(file)

    def _findings(self, code: int) -> Findings:
        run, collected = self._config.stash.get(RUN, None), self._config.stash[COLLECTED]
        return Findings(
            target=run.site.target.name if run else "",
            driver=run.site.target.driver if run else "",
            api=run.site.target.api_url if run else "",
            began=collected.began,
            ended=time.time(),
            exit_code=code,
            known=sorted({entry["name"] for entry in run.plan().values()} if run else ()),
            found=collected.in_order(),
        )

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for line in summary_lines(self._findings(0), width=min(120, shutil.get_terminal_size().columns)):
            terminalreporter.line(line)
