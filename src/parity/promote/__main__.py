"""Entry point of ``deploy/promote.sh``."""

from parity.promote.cli import promote

promote(prog_name="deploy/promote.sh")
