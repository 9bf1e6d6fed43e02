"""Every measure of replication runs, on the smallest sizes, against a real stand-in; no time is asserted."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from parity.bench import replication, replication_load
from parity.bench.cli import bench
from parity.bench.replication_prices import per_million
from parity.bench.standin import StandIn, forget, running, slow_puts, totals

SMALL = {
    "rounds": 10, "writes": 40, "megabytes": [1], "clients": 2, "seconds": 0.2, "profiles": 10, "idle_seconds": 0.1,
}  # fmt: skip


@pytest.mark.parametrize("name", replication.MEASURES)
def test_a_measure_gives_figures_with_its_bars(name: str) -> None:
    found = replication.run([name], SMALL)[name]
    assert found
    assert all(figure.name and figure.value >= 0 for figure in found)
    assert any(figure.bar for figure in found) or name == "cost"


async def test_a_timer_is_measured_even_where_the_time_is_over_before_it_begins() -> None:
    async def work(_: int) -> None: ...

    delays, own, _ = await replication_load._lag_under(work, clients=1, seconds=0)
    assert (len(delays), len(own)) == (1, 1)


def test_a_measure_that_fails_says_why() -> None:
    with running() as stand_in, pytest.raises(replication.MeasureFailed, match="no_such_size"):
        replication.measure("write", stand_in, {"no_such_size": 1})


def test_a_stand_in_begins_empty_and_counts_only_what_came_since() -> None:
    with running() as stand_in:
        assert isinstance(stand_in, StandIn)
        assert stand_in.ca.exists()
        forget(stand_in.admin_url)
        with slow_puts(stand_in.admin_url, 0.01):
            assert totals(stand_in.admin_url)["requests"] == 0


def test_a_million_costs_the_list_price() -> None:
    assert [round(value, 3) for value in per_million(1030, 0, 1000)] == [1_030_000, 0, 4.635]
    assert [round(value, 3) for value in per_million(0, 75, 100)] == [0, 750_000, 0.27]


def test_the_command_knows_its_measures() -> None:
    said = CliRunner().invoke(bench, ["replication", "--only", "nothing"])
    assert said.exit_code == 2
    assert "'write'" in said.output
