from __future__ import annotations

from pathlib import Path

import pytest

from parity.container.dev import trust
from parity.container.dev.trust import added, certificates, pem, trust_for_the_system

FIRST, SECOND, THIRD = "QUJD" * 40, "REVG" * 40, "R0hJ" * 40


def test_a_bundle_is_taken_apart_and_put_together_again() -> None:
    bundle = f"# a root\n{pem(FIRST)}\nand another one\n{pem(SECOND)}"
    assert certificates(bundle) == [FIRST, SECOND]
    assert max(len(line) for line in pem(FIRST).splitlines()) == 64


def test_only_what_the_image_does_not_know_is_added_and_once(tmp_path: Path) -> None:
    known, stack, network = tmp_path / "known.crt", tmp_path / "stack.pem", tmp_path / "network.pem"
    known.write_text(pem(FIRST))
    stack.write_text(pem(SECOND))
    network.write_text(pem(FIRST) + pem(THIRD) + pem(SECOND) + pem(THIRD))
    assert added([stack, network], [known]) == [SECOND, THIRD]


def test_without_a_stack_and_without_an_intercepting_network_nothing_is_added(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    assert added([tmp_path / "no-stack.pem", tmp_path / "empty.pem"], []) == []


def test_the_systems_bundle_gets_what_is_added_instead_of_what_was_and_keeps_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.crt"
    bundle.write_text(pem(FIRST))
    monkeypatch.setattr(trust, "BUNDLE", bundle)
    monkeypatch.setattr(trust, "ADDED", tmp_path / "added")
    trust_for_the_system([SECOND])
    assert certificates(bundle.read_text()) == [FIRST, SECOND]
    trust_for_the_system([THIRD, FIRST])
    assert certificates(bundle.read_text()) == [FIRST, THIRD]
    assert [certificates(path.read_text()) for path in sorted((tmp_path / "added").iterdir())] == [[THIRD], [FIRST]]
