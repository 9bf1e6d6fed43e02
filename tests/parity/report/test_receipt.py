from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from parity.config.errors import ConfigError
from parity.report.identity import Identity
from parity.report.receipt import Receipt, mismatches, read_receipt, receipt_json
from parity.report.results import Outcome, Proof, Run

OTHER = "sha256:" + "b" * 64


def written(tmp_path: Path, run: Run, identity: Identity) -> Receipt:
    path = tmp_path / "receipt.json"
    path.write_text(receipt_json(run, identity))
    return read_receipt(path)


def fields(receipt: Receipt, now: Identity, **options: list[str]) -> list[str]:
    return [item.field for item in mismatches(receipt, now, **options)]


def test_a_receipt_speaks_for_what_it_was_written_for(tmp_path: Path, good_run: Run, identity: Identity) -> None:
    assert mismatches(written(tmp_path, good_run, identity), identity) == []


def test_another_image_is_named_with_both_digests(tmp_path: Path, good_run: Run, identity: Identity) -> None:
    found = mismatches(written(tmp_path, good_run, identity), replace(identity, image_digest=OTHER))
    assert [item.field for item in found] == ["image"]
    assert identity.image_digest in str(found[0])
    assert OTHER in str(found[0])
    assert "make check" in found[0].to_do


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"image_digest": ""}, "image"),
        ({"commit": "decaf"}, "commit"),
        ({"commit": ""}, "commit"),
        ({"dirty": True}, "working tree (here)"),
        ({"dirty": None}, "working tree (here)"),
        ({"hashes": {"parity.toml": "sha256:1"}}, "deploy/fly.staging.toml"),
    ],
)
def test_each_part_of_the_identity_is_compared(
    tmp_path: Path, good_run: Run, identity: Identity, change: dict[str, object], field: str
) -> None:
    now = replace(identity, **change)  # type: ignore[arg-type]  # the table holds one field each
    assert field in fields(written(tmp_path, good_run, identity), now)


def test_a_configuration_changed_after_the_checks_is_named_by_its_file(
    tmp_path: Path, good_run: Run, identity: Identity
) -> None:
    changed = replace(identity, hashes=identity.hashes | {"deploy/fly.staging.toml": "sha256:9"})
    assert fields(written(tmp_path, good_run, identity), changed) == ["deploy/fly.staging.toml"]


def test_a_receipt_of_a_dirty_tree_does_not_count(tmp_path: Path, good_run: Run, identity: Identity) -> None:
    receipt = written(tmp_path, good_run, replace(identity, dirty=True))
    assert fields(receipt, identity) == ["working tree (checked)"]


def test_a_receipt_of_the_process_stack_does_not_count(tmp_path: Path, good_run: Run, identity: Identity) -> None:
    assert fields(written(tmp_path, replace(good_run, driver="process"), identity), identity) == ["driver"]


def test_a_partial_run_does_not_count(tmp_path: Path, good_run: Run, identity: Identity) -> None:
    receipt = written(tmp_path, replace(good_run, known=["fine", "left-out"]), identity)
    assert fields(receipt, identity) == ["check left-out"]


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.ERROR, Outcome.SKIPPED])
def test_a_check_that_did_not_pass_is_named(
    tmp_path: Path, good_run: Run, identity: Identity, outcome: Outcome
) -> None:
    run = replace(good_run, results=[replace(good_run.results[0], outcome=outcome)])
    assert fields(written(tmp_path, run, identity), identity) == ["check fine"]


def test_a_skipped_check_counts_only_when_it_is_allowed_by_name(
    tmp_path: Path, good_run: Run, identity: Identity
) -> None:
    run = replace(good_run, results=[replace(good_run.results[0], outcome=Outcome.SKIPPED)])
    receipt = written(tmp_path, run, identity)
    assert fields(receipt, identity, allow_skipped=["fine"]) == []
    assert fields(receipt, identity, allow_skipped=["other"]) == ["check fine"]


def test_a_check_that_missed_its_broken_variant_does_not_count(
    tmp_path: Path, good_run: Run, identity: Identity
) -> None:
    blind = replace(good_run.results[0], proof=Proof("bad env", False))
    assert fields(written(tmp_path, replace(good_run, results=[blind]), identity), identity) == ["check fine"]


def test_a_missing_receipt_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make check"):
        read_receipt(tmp_path / "none.json")


@pytest.mark.parametrize("text", ["", "[]", '{"format": 99}', '{"format": 1}', '{"format": 1, "identity": {}}'])
def test_a_file_that_is_no_receipt_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(ConfigError, match=r"r\.json"):
        read_receipt(tmp_path / "r.json")
