"""The ``parity`` command: its list of subcommands, and how errors are printed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from parity import __version__
from parity.cli import config, dev, inside, look, machine, settings, stack
from parity.cli.lazy import LazyGroup, Mount
from parity.config.dotenv import take_dotenv
from parity.config.errors import ConfigError
from parity.stack.errors import StackError
from parity.stack.hands import hands

# Commands that are imported when they are used: those of other packages, and those that import slowly.
MOUNTS = (
    Mount("init", "parity.cli.init:init", "Write the files with which Parity checks the backend in this folder."),
    Mount(
        "browser", "parity.cli.browser:browser", "Open the page of this stack in Chromium, under its public host name."
    ),
    Mount("check", "parity.checks.cli:check", "Run the checks against the stack or a deployed app."),
    Mount("compare", "parity.checks.cli:compare", "Run the live-safe checks on two targets and show the differences."),
    Mount(
        "promote", "parity.promote.cli:promote", "Deploy the checked image to a target, and roll back if that fails."
    ),
    Mount("r2", "parity.r2.cli:group", "List and read the bucket's objects, set faults, make snapshots."),
    Mount("bench", "parity.bench.cli:bench", "Measure the replication and the stand-ins."),
)


def show_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    """Print the version and commit of the harness, and exit."""
    if wanted and not context.resilient_parsing:
        from parity.report.identity import git_state

        commit, dirty = git_state(Path(__file__).parents[3])
        click.echo(f"parity {__version__} ({commit or 'commit unknown'}{', changed since' if dirty else ''})")
        context.exit()


@click.group(
    cls=LazyGroup,
    mounts=MOUNTS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 success, 1 failure, 2 wrong arguments or configuration. The manual is docs/cli.md.",
)
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder that contains parity.toml. Default: PARITY_ROOT, or else the current folder.",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=show_version,
    help="Show the version and commit of the harness, and exit.",
)
def parity(root: Path | None) -> None:
    """Find out before a deploy what Fly, R2, Modal and the browser will do to the app."""
    if root is not None:
        # The settings are read from the environment, by children too.
        os.environ["PARITY_ROOT"] = str(root.resolve())


for _command in (
    stack.up,
    dev.dev,
    stack.down,
    stack.run_checks,
    look.status,
    look.urls,
    look.env,
    look.logs,
    inside.shell,
    inside.db,
    config.diff,
    config.config,
    machine.machine,
    settings.settings,
):
    parity.add_command(_command)


def main(arguments: list[str] | None = None) -> None:
    """Entry point. Raises ``SystemExit``: 1 when a stack fails, 2 when arguments or configuration are wrong."""
    try:
        take_dotenv(Path(os.environ.get("PARITY_ROOT") or "."))
        hands()
        settings.refuse_misspelt(os.environ)
        parity.main(arguments, prog_name="parity")
    except ConfigError as error:
        _refuse(str(error), 2)
    except StackError as error:
        _refuse(str(error), 1)
    finally:
        hand_over(Path(os.environ.get("PARITY_ROOT") or ".") / (os.environ.get("PARITY_STATE_DIR") or ".parity"))


def hand_over(state: Path) -> None:
    """Change the owner of files that root created in ``state`` to the folder's owner.

    Containers run as root, but the folder is the developer's.
    """
    if os.geteuid() != 0 or not state.is_dir():
        return
    owner = state.stat()
    if owner.st_uid != 0:
        for path in state.rglob("*"):
            if path.lstat().st_uid == 0:
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _refuse(message: str, code: int) -> None:
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
