"""The measures of the R2 stand-in run, on the smallest sizes, against real servers; no time is asserted."""

from __future__ import annotations

import shutil

import pytest

from parity.bench import r2, r2_servers

pytestmark = pytest.mark.timeout(900)


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_reads_are_compared_with_nginx() -> None:
    assert [figure.bar for figure in r2.against_nginx(1, 0, size=1 << 20)] == ["≤ 1.30"] * 2


def test_without_nginx_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert r2.against_nginx(1, 0.1) == []


def test_every_comparison_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    # Against itself: tests install no moto_server.
    monkeypatch.setattr(r2, "moto", r2_servers.stand_in)
    # In no time: each client sends at least one request, whenever it begins.
    figures = r2.against_moto(1, 0, {"100 KiB": 100 << 10, "10 MiB": 1 << 20})
    assert len(figures) == 16
    assert all(figure.value > 0 and figure.bar for figure in figures)
