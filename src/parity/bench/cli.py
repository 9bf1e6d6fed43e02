"""``parity bench``: the benchmarks, one command each."""

from __future__ import annotations

import click

from parity.bench import edge, r2, replication


@click.group("bench", invoke_without_command=True)
@click.pass_context
def bench(context: click.Context) -> None:
    """Measure, and print the figures with their conditions. Without a command, run all benchmarks."""
    if context.invoked_subcommand is None:
        for command in (replication.command, r2.command, edge.command):
            click.echo(f"\n== {command.name}: {command.get_short_help_str(100)}")
            context.invoke(command)


bench.add_command(replication.command)
bench.add_command(r2.command)
bench.add_command(edge.command)
