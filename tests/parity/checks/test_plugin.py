"""Verdicts, exit code, JUnit and the last line, by `parity check` on a repository without a stack."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from tests.parity.checks.repository import CONTRACT, Ended, Repository

from parity.checks.outcome import NO_ANSWER
from parity.report.findings import Verdict

EVERYTHING = """
    B = dict(broken=Env({"X": "1"}), because="the reason")

    @check("B", "holds and is proven", **B)
    def test_holds(variant):
        assert variant is None, "the reason that was expected"

    @check("B", "fails", **B)
    def test_fails(variant):
        assert variant is not None, "it does not hold"

    @check("B", "cannot be observed", **B)
    def test_breaks():
        raise OSError("no such machine")

    @check("B", "misses its variant", **B)
    def test_blind():
        pass

    @check("B", "fails for another reason when broken", **B)
    def test_other_reason(variant):
        assert variant is None, "something else"

    @check("B", "breaks when broken", **B)
    def test_error_when_broken(variant):
        if variant: raise OSError("it does not even start")

    @check("B", "is not judged when broken", **B)
    def test_void_when_broken(variant):
        if variant: not_judged("nobody can sign in")

    @check("B", "rests on one that fails", rests_on=("test_fails",), **B)
    def test_rests(): pass

    @check("B", "rests on one that holds", rests_on=("test_holds",), **B)
    def test_rests_well(variant):
        assert variant is None, "the reason"

    @check("B", "is about edits", needs=("edit",), **B)
    def test_edits(): pass

    @check("B", "is about the image", needs=("docker",), **B)
    def test_image(): pass

    @check("B", "rests on one that this host cannot show", rests_on=("test_image",), **B)
    def test_rests_on_image(): pass

    @check("B", "has a variant that only the contract can name", broken="nowhere", because="x")
    def test_named(): pass

    @check("B", "fails in a fixture", **B)
    def test_fixture(wrong): pass

    @check("B", "fails after the test", **B)
    def test_after(leaves): pass

    @check("B", "has no variant", unproven="it is about the host")
    def test_unproven(): pass

    @check("B", "takes too long", deadline_s=0.2, **B)
    async def test_slow(variant):
        import asyncio
        await asyncio.sleep(0.01 if variant else 60)

    @pytest.fixture
    def wrong(): raise KeyError("a fixture")

    @pytest.fixture
    def leaves():
        yield
        raise OSError("cannot be put back")
"""


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    return Repository.at(tmp_path_factory.mktemp("repository"), EVERYTHING).check("--prove", "-n", "2")


@pytest.mark.parametrize(
    ("name", "plain", "proof"),
    [
        ("test_holds", Verdict.PASSED, Verdict.CAUGHT),
        ("test_fails", Verdict.FAILED, Verdict.VOID),
        ("test_breaks", Verdict.ERROR, Verdict.VOID),
        ("test_blind", Verdict.PASSED, Verdict.NOT_CAUGHT),
        ("test_other_reason", Verdict.PASSED, Verdict.ERROR),
        ("test_error_when_broken", Verdict.PASSED, Verdict.ERROR),
        ("test_void_when_broken", Verdict.PASSED, Verdict.ERROR),
        ("test_rests", Verdict.NOT_JUDGED, Verdict.NOT_JUDGED),
        ("test_rests_well", Verdict.PASSED, Verdict.CAUGHT),
        ("test_edits", Verdict.NOT_DECLARED, Verdict.NOT_DECLARED),
        ("test_named", Verdict.PASSED, Verdict.NOT_DECLARED),
        ("test_fixture", Verdict.ERROR, Verdict.VOID),
        ("test_after", Verdict.ERROR, Verdict.VOID),
        ("test_slow", Verdict.ERROR, Verdict.VOID),
    ],
)
def test_a_check_and_its_proof_end_with_the_right_verdicts(
    proven: Ended, name: str, plain: Verdict, proof: Verdict
) -> None:
    assert (proven.verdict(name), proven.verdict(name, proof=True)) == (plain, proof)


def test_a_check_that_this_host_cannot_show_is_not_passed(proven: Ended) -> None:
    assert proven.verdict("test_image") is Verdict.NOT_SHOWN
    assert proven.verdict("test_rests_on_image") is Verdict.NOT_SHOWN


def test_a_check_without_a_variant_runs_once_and_says_why(proven: Ended) -> None:
    assert proven.findings is not None
    assert [one.unproven for one in proven.findings.found if one.name == "test_unproven"] == ["it is about the host"]


def test_exit_code_junit_and_last_line_count_what_the_summary_counts(proven: Ended) -> None:
    assert proven.findings is not None
    counts = {verdict: len(proven.findings.of(verdict)) for verdict in Verdict}
    assert proven.code == 1
    assert proven.junit == {
        "tests": len(proven.findings.found),
        "failures": counts[Verdict.FAILED] + counts[Verdict.NOT_CAUGHT],
        "errors": counts[Verdict.ERROR] + counts[Verdict.VOID],
        "skipped": counts[Verdict.NOT_DECLARED] + counts[Verdict.NOT_JUDGED] + counts[Verdict.NOT_SHOWN],
    }
    words = {"not shown": "not shown here", "error": "errors"}
    for verdict, number in counts.items():
        assert f"{number} {words.get(verdict, verdict)}" in proven.last_line
        assert f"{number} {verdict}" in proven.output


def test_an_error_of_the_harness_is_no_failure_of_the_app(tmp_path: Path) -> None:
    checks = """
        @check("B", "cannot be observed", unproven="x")
        def test_breaks(): raise OSError("no such machine")
    """
    ended = Repository.at(tmp_path, checks).check()
    assert (ended.code, ended.junit["failures"], ended.junit["errors"]) == (NO_ANSWER, 0, 1)


def test_a_check_whose_process_dies_is_an_error_and_those_that_rest_on_it_go_on(tmp_path: Path) -> None:
    checks = """
        @check("B", "ends its process", unproven="x")
        def test_dies():
            import os
            os._exit(3)
        @check("B", "holds", unproven="x")
        def test_holds(): pass
        @check("B", "rests on it", unproven="x", rests_on=("test_dies",))
        def test_rests(): pass
    """
    ended = Repository.at(tmp_path, checks).check("-n", "2")
    assert [ended.verdict(name) for name in ("test_dies", "test_holds", "test_rests")] == [
        Verdict.ERROR, Verdict.PASSED, Verdict.NOT_JUDGED,
    ]  # fmt: skip
    assert (ended.code, ended.junit["failures"], ended.junit["errors"]) == (NO_ANSWER, 0, 1)


def test_every_evidence_that_is_named_is_there_and_goes_once_the_check_holds(tmp_path: Path) -> None:
    failing = '@check("B", "fails", unproven="x")\ndef test_x(): assert False, "a reason"\n'
    ended = Repository.at(tmp_path, failing).check()
    evidence = Path(ended.one("test_x").evidence)
    assert (evidence / "reason.txt").read_text("utf-8").startswith("failed: a reason")
    Repository.at(tmp_path, failing.replace("False", "True")).check()
    assert not evidence.exists()


def test_every_check_of_a_run_is_known_with_several_processes_too(proven: Ended) -> None:
    assert proven.findings is not None
    assert list(proven.findings.known) == sorted({one.name for one in proven.findings.found})


def test_a_selection_of_a_proof_runs_the_check_as_it_is_too(tmp_path: Path) -> None:
    ended = Repository.at(tmp_path, EVERYTHING).check("--prove", "-k", "test_holds and broken")
    assert [ended.verdict("test_holds"), ended.verdict("test_holds", proof=True)] == [Verdict.PASSED, Verdict.CAUGHT]
    assert ended.code == 0, ended.output


def test_a_selection_of_a_mutant_by_its_name_runs_the_check_as_it_is_too(tmp_path: Path) -> None:
    repository = Repository.at(tmp_path, EVERYTHING)
    mutants = tmp_path / "mutants.py"
    mutants.write_text(
        "from parity.checks import Env\nfrom parity.checks.variants import Mutant\n"
        "MUTANTS = [Mutant(name, Env({}), 'test_holds') for name in ('answered_early', 'answered_late')]\n"
    )
    ended = repository.check("--mutants", str(mutants), "-k", "answered_late")
    assert ended.findings is not None
    assert [(one.verdict, one.broken) for one in ended.findings.found] == [
        (Verdict.PASSED, "Env(X=1)"),
        (Verdict.CAUGHT, "mutant answered_late"),
    ]


def test_a_proof_whose_plain_run_was_left_out_is_void(tmp_path: Path) -> None:
    repository = Repository.at(tmp_path, EVERYTHING)
    ended = repository.check("--prove", f"{tmp_path}/checks/test_own.py::test_holds[broken]")
    assert ended.verdict("test_holds", proof=True) is Verdict.VOID
    assert ended.code == NO_ANSWER


def test_a_run_in_which_all_holds_ends_with_0(tmp_path: Path) -> None:
    ended = Repository.at(tmp_path, EVERYTHING).check("--prove", "-k", "test_holds or test_rests_well or test_edits")
    assert ended.code == 0, ended.output


def test_reasons_junit_and_output_hold_no_credentials(tmp_path: Path) -> None:
    checks = """
        @check("B", "says too much", unproven="x")
        def test_tells():
            assert False, 'GET /x answered 500: {"token": "abcdef123456"} Authorization: Bearer zyxwvut987654'
    """
    repository = Repository.at(tmp_path, checks)
    ended = repository.check("--tb=short")
    written = [path.read_text("utf-8") for path in tmp_path.rglob("*") if path.suffix in (".json", ".xml", ".html")]
    for text in (ended.output, *written):
        assert not re.search("abcdef123456|zyxwvut987654", text.replace(EVERYTHING, ""))


def test_a_check_without_broken_variant_and_reason_fails_the_collection(tmp_path: Path) -> None:
    ended = Repository.at(tmp_path, '@check("B", "t")\ndef test_x(): pass\n').check("--tb=short")
    assert (ended.code, "either broken with because, or unproven" in ended.output) == (2, True), ended.output


def test_a_check_that_does_not_say_what_to_do_fails_the_collection(tmp_path: Path) -> None:
    checks = '@check("B", "t", unproven="x")\ndef test_x(): pass\n'
    ended = Repository.at(tmp_path, checks, documented=False).check("--tb=short")
    assert (ended.code, "has no docstring; say in it what to do" in ended.output) == (2, True), ended.output


def test_the_docstring_of_a_failed_check_is_what_to_do(tmp_path: Path) -> None:
    ended = Repository.at(tmp_path, '@check("B", "t", unproven="x")\ndef test_x(): assert False, "it is so"\n').check()
    assert (ended.one("test_x").next_step, "to do: Correct it." in ended.output) == ("Correct it.", True)


def test_a_contract_with_a_mistake_is_refused_before_anything_runs(tmp_path: Path) -> None:
    contract = CONTRACT + "    async def uplaod(self, data): ...\n"
    ended = Repository.at(tmp_path, EVERYTHING, contract=contract).check()
    assert (ended.code, "is it upload?" in ended.output) == (4, True), ended.output


def test_a_test_without_the_mark_is_refused(tmp_path: Path) -> None:
    repository = Repository.at(tmp_path, "def test_x(): pass\n")
    named = tmp_path / "parity.toml"
    named.write_text(named.read_text().replace("[checks]\n", '[checks]\nfolder = "checks"\n'))
    ended = repository.check()
    assert (ended.code, "test_own.py::test_x is no check: decorate it" in ended.output) == (4, True), ended.output


def test_unit_tests_beside_the_checks_are_left_alone(tmp_path: Path) -> None:
    repository = Repository.at(tmp_path, EVERYTHING)
    (tmp_path / "test_unit.py").write_text("def test_unit(): pass\n")
    ended = repository.check(str(tmp_path / "test_unit.py"))
    assert "is no check" not in ended.output, ended.output


def test_two_checks_of_one_name_are_refused(tmp_path: Path) -> None:
    repository = Repository.at(tmp_path, '@check("B", "a", unproven="x")\ndef test_a(): pass\n')
    shutil.copy(tmp_path / "checks/test_own.py", other := tmp_path / "checks/test_other.py")
    ended = repository.check(str(other))
    assert (ended.code, "two checks are called test_a" in ended.output) == (4, True), ended.output


def test_a_check_with_parameters_passes_only_with_each_of_them(tmp_path: Path) -> None:
    checks = """
        @check("B", "a", broken=Env({"X": "1"}), because="it is")
        @pytest.mark.parametrize("number", [1, 2, 3])
        def test_a(number, variant): assert number != 2 and variant is None, f"it is {number}"
        @check("B", "b", unproven="x", rests_on=("test_a",))
        def test_b(): pass
    """
    ended = Repository.at(tmp_path, checks).check("--prove")
    assert ended.verdict("test_b") is Verdict.NOT_JUDGED
    assert ended.findings is not None
    assert {one.verdict for one in ended.findings.found if one.proof} == {Verdict.VOID}


def test_a_run_in_which_nothing_was_judged_is_not_green(tmp_path: Path) -> None:
    ended = Repository.at(tmp_path, EVERYTHING).check("-k", "test_edits or test_image")
    assert ended.findings is not None
    assert {one.verdict for one in ended.findings.found} == {Verdict.NOT_DECLARED, Verdict.NOT_SHOWN}
    assert ended.code == NO_ANSWER


def test_checks_that_rest_on_each_other_are_refused(tmp_path: Path) -> None:
    checks = """
        @check("B", "a", unproven="x", rests_on=("test_b",))
        def test_a(): pass
        @check("B", "b", unproven="x", rests_on=("test_a",))
        def test_b(): pass
    """
    ended = Repository.at(tmp_path, checks).check()
    assert (ended.code, "rest on each other" in ended.output) == (4, True)


def test_at_a_deployed_app_a_check_may_rest_on_one_that_only_a_stack_can_show(tmp_path: Path) -> None:
    checks = """
        @check("B", "needs a stack", unproven="x")
        def test_stack(): pass
        @check("B", "needs none", unproven="x", live=True, rests_on=("test_stack",))
        def test_live(): pass
    """
    repository = Repository.at(tmp_path, checks)
    with (tmp_path / "parity.toml").open("a") as file:
        file.write('[targets.staging]\nurl = "https://app.example"\n')
    ended = repository.check("--target", "staging")
    assert (ended.verdict("test_stack"), ended.verdict("test_live")) == (Verdict.NOT_SHOWN, Verdict.PASSED)
    assert ended.code == 0, ended.output


def test_what_others_rest_on_runs_first_wherever_it_stands(tmp_path: Path) -> None:
    checks = """
        @check("B", "a", unproven="x", rests_on=("test_c",))
        def test_a(): pass
        @check("B", "b", unproven="x", alone=True)
        def test_b(): pass
        @check("B", "c", unproven="x", alone=True)
        def test_c(): raise OSError("no")
    """
    ended = Repository.at(tmp_path, checks).check("-vv")
    order = re.findall(r"::(test_\w)", ended.output)
    assert (order[:3], ended.verdict("test_a")) == (["test_c", "test_a", "test_b"], Verdict.NOT_JUDGED)
