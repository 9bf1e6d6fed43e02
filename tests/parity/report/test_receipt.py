"""The receipt, and each reason for which it no longer speaks for what is here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parity.config.errors import ConfigError
from parity.report.findings import Verdict
from parity.report.identity import Identity
from parity.report.ran import Ran, RanImage
from parity.report.receipt import ACCEPTED, NOT_SHOWN, Receipt, ReceiptResult, mismatches, read_receipt, write_receipt

OTHER = "sha256:" + "b" * 64
FINE = ReceiptResult("fine", "It holds", "A", "passed", (), 1.0, True)


@pytest.fixture
def good(identity: Identity, tmp_path: Path) -> dict[str, Any]:
    """What a receipt that counts is written from."""
    ran = Ran((RanImage(identity.image_digest, identity.commit, False), RanImage(OTHER, "", True)), str(tmp_path))
    return {
        "target": "local",
        "driver": "docker",
        "identity": identity,
        "ran": ran,
        "results": [FINE],
        "known": ["fine"],
        "tools": {"python": "3.11.2"},
    }


def written(tmp_path: Path, good: dict[str, Any], **changes: Any) -> Receipt:
    path = tmp_path / "receipts" / "receipt.json"
    write_receipt(path, **{**good, **changes})
    return read_receipt(path)


def fields(receipt: Receipt, now: Identity, tmp_path: Path, **options: list[str]) -> list[str]:
    return [item.field for item in mismatches(receipt, now, tmp_path, **options)]


def test_a_receipt_speaks_for_what_it_was_written_for(tmp_path: Path, good: dict[str, Any], identity: Identity) -> None:
    receipt = written(tmp_path, good)
    assert mismatches(receipt, identity, tmp_path) == []
    assert receipt.results == (FINE,)
    assert receipt.ran == good["ran"]


def test_two_images_during_one_run_are_both_named(tmp_path: Path, good: dict[str, Any], identity: Identity) -> None:
    both = Ran((*good["ran"].images, RanImage(OTHER, identity.commit, False)), str(tmp_path))
    (found,) = mismatches(written(tmp_path, good, ran=both), identity, tmp_path)
    assert identity.image_digest in found.found
    assert OTHER in found.found


def test_a_run_of_which_no_image_is_known_does_not_count(
    tmp_path: Path, good: dict[str, Any], identity: Identity
) -> None:
    assert fields(written(tmp_path, good, ran=Ran((), str(tmp_path))), identity, tmp_path) == ["image"]


def test_a_run_on_the_working_tree_is_refused_although_the_image_is_the_same(
    tmp_path: Path, good: dict[str, Any], identity: Identity
) -> None:
    ran = Ran((RanImage(identity.image_digest, identity.commit, False, dev=True),), str(tmp_path))
    (found,) = mismatches(written(tmp_path, good, ran=ran), identity, tmp_path)
    assert "working tree" in found.found


@pytest.mark.parametrize("commit", ["decaf", "unknown", "", "c0ffee-dirty"])
def test_an_image_of_another_or_an_unknown_commit_is_refused(
    tmp_path: Path, good: dict[str, Any], identity: Identity, commit: str
) -> None:
    ran = Ran((RanImage(identity.image_digest, commit, False),), str(tmp_path))
    assert fields(written(tmp_path, good, ran=ran), identity, tmp_path) == ["image commit"]


@pytest.mark.parametrize("checkout", ["/somewhere/else", ""])
def test_the_stack_of_another_checkout_is_refused(
    tmp_path: Path, good: dict[str, Any], identity: Identity, checkout: str
) -> None:
    ran = replace(good["ran"], checkout=checkout)
    assert fields(written(tmp_path, good, ran=ran), identity, tmp_path) == ["checkout"]


def test_another_image_is_named_with_both_digests(tmp_path: Path, good: dict[str, Any], identity: Identity) -> None:
    found = mismatches(written(tmp_path, good), replace(identity, image_digest=OTHER), tmp_path)
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
    tmp_path: Path, good: dict[str, Any], identity: Identity, change: dict[str, object], field: str
) -> None:
    now = replace(identity, **change)  # type: ignore[arg-type]  # the table holds one field each
    assert field in fields(written(tmp_path, good), now, tmp_path)


def test_a_configuration_changed_after_the_checks_is_named_by_its_file(
    tmp_path: Path, good: dict[str, Any], identity: Identity
) -> None:
    changed = replace(identity, hashes=identity.hashes | {"deploy/fly.staging.toml": "sha256:9"})
    assert fields(written(tmp_path, good), changed, tmp_path) == ["deploy/fly.staging.toml"]


def test_a_receipt_of_a_dirty_tree_does_not_count(tmp_path: Path, good: dict[str, Any], identity: Identity) -> None:
    receipt = written(tmp_path, good, identity=replace(identity, dirty=True))
    assert fields(receipt, identity, tmp_path) == ["working tree (checked)"]


def test_a_receipt_of_a_process_stack_does_not_count(tmp_path: Path, good: dict[str, Any], identity: Identity) -> None:
    assert fields(written(tmp_path, good, driver="process"), identity, tmp_path) == ["driver"]


def test_a_partial_run_does_not_count(tmp_path: Path, good: dict[str, Any], identity: Identity) -> None:
    receipt = written(tmp_path, good, known=["fine", "left-out"])
    assert fields(receipt, identity, tmp_path) == ["check left-out"]


@pytest.mark.parametrize("outcome", ["failed", "error", "not shown", "not judged", "skipped"])
def test_a_check_that_did_not_pass_is_named(
    tmp_path: Path, good: dict[str, Any], identity: Identity, outcome: str
) -> None:
    receipt = written(tmp_path, good, results=[replace(FINE, outcome=outcome)])
    assert fields(receipt, identity, tmp_path) == ["check fine"]


def test_a_check_that_could_not_be_shown_counts_only_when_it_is_allowed_by_name(
    tmp_path: Path, good: dict[str, Any], identity: Identity
) -> None:
    receipt = written(tmp_path, good, results=[replace(FINE, outcome="not shown")])
    assert fields(receipt, identity, tmp_path, allow_skipped=["fine"]) == []
    assert fields(receipt, identity, tmp_path, allow_skipped=["other"]) == ["check fine"]


def test_a_check_that_missed_its_broken_variant_does_not_count(
    tmp_path: Path, good: dict[str, Any], identity: Identity
) -> None:
    receipt = written(tmp_path, good, results=[replace(FINE, caught=False)])
    assert fields(receipt, identity, tmp_path) == ["check fine"]


def test_a_missing_receipt_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make check"):
        read_receipt(tmp_path / "none.json")


@pytest.mark.parametrize("text", ["", "[]", '{"format": 99}', '{"format": 2}', '{"format": 2, "identity": {}}'])
def test_a_file_that_is_no_receipt_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(ConfigError, match=r"r\.json"):
        read_receipt(tmp_path / "r.json")


def test_what_the_contract_does_not_declare_keeps_no_receipt_back(
    tmp_path: Path, good: dict[str, Any], identity: Identity
) -> None:
    receipt = written(tmp_path, good, results=[replace(FINE, outcome="not declared")])
    assert fields(receipt, identity, tmp_path) == []


def test_the_receipt_knows_the_words_of_the_verdicts() -> None:
    assert {*ACCEPTED, NOT_SHOWN} <= {str(verdict) for verdict in Verdict}
