"""``python -m parity.flyctl COMMAND``: what a ``fly`` on PATH runs where there is no flyctl."""

from parity.flyctl.cli import fly

fly(prog_name="fly")
