"""``python -m app.replication``: what operators do with a profile's database in the bucket.

Settings come from the environment, as the backend's do. Exit codes: 0 done, 1 the replica is damaged, 2 wrong usage or
settings (a file or folder that is not there too), 3 the object store cannot be asked, 4 there is nothing, 5 refused.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from app import timestamps
from app.context import UserContext
from app.core import make_store
from app.ids import InvalidId
from app.replication.errors import Damaged, GapError, NothingThere, Refused, StoreError
from app.replication.operator import Operator
from app.settings import Settings, SettingsError, load
from app.storage.interface import StorageError
from app.storage.keys import Keys

DAMAGED, USAGE, UNAVAILABLE, NOTHING, REFUSED = 1, 2, 3, 4, 5


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m app.replication", description=__doc__)
    commands = made.add_subparsers(dest="command", required=True)
    profile = argparse.ArgumentParser(add_help=False)
    profile.add_argument("--user", required=True, help="user id (X-User-ID)")
    profile.add_argument("--profile", required=True, help="profile id (X-Profile-ID)")
    commands.add_parser("verify", parents=[profile], help="fetch and check every file and the database they make")
    listing = commands.add_parser("list", parents=[profile], help="show the files: level, TXIDs, size, time, writer")
    restore = commands.add_parser("restore", parents=[profile], help="write the database to a file")
    for command in (listing, restore):
        command.add_argument(
            "--at", type=_moment, metavar="TIME", help="the state just before TIME, e.g. 2026-11-24T10:30:00Z"
        )
    restore.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="must not exist")
    imported = commands.add_parser(
        "import", parents=[profile], help="take the whole-file database.sqlite over, or a FILE of yours"
    )
    imported.add_argument("file", nargs="?", type=Path, metavar="FILE", help="an SQLite database without a -wal")
    imported.add_argument("--replace", action="store_true", help="put FILE in place of the database that is there")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    given = parser().parse_args(arguments)
    try:
        settings = load()
        context = UserContext(given.user, given.profile)
    except (SettingsError, InvalidId) as error:
        return _complain(USAGE, error)
    if problem := _unusable(given):
        return _complain(USAGE, problem)
    keys = Keys(settings.app_env).profile(context)
    try:
        return asyncio.run(_run(given, settings, context))
    except (Damaged, GapError) as error:
        return _complain(DAMAGED, f"below {keys.database_folder}: {error}")
    except (StoreError, StorageError) as error:
        return _complain(UNAVAILABLE, error)
    except NothingThere as error:
        return _complain(NOTHING, error)
    except (Refused, OSError) as error:
        return _complain(REFUSED, error)


async def _run(given: argparse.Namespace, settings: Settings, context: UserContext) -> int:
    store = make_store(settings)
    try:
        operator = Operator(store, Keys(settings.app_env).profile(context))
        with tempfile.TemporaryDirectory(prefix="replication-") as scratch:
            match given.command:
                case "verify":
                    return await _verify(operator, Path(scratch))
                case "list":
                    return await _list(operator, given.at)
                case "restore":
                    txid = await operator.restore(given.output, given.at)
                    _say(f"{given.output}: the database at TXID {txid:016x}")
                case _:
                    return await _import(operator, given, Path(scratch))
        return 0
    finally:
        await store.close()


async def _verify(operator: Operator, scratch: Path) -> int:
    report = await operator.verify(scratch)
    for problem in report.problems:
        _complain(DAMAGED, problem)
    verdict = f"{len(report.problems)} problems" if report.problems else f"sound, {report.pages} pages"
    _say(f"{report.files} files, {report.bytes} bytes, newest TXID {report.txid:016x}: {verdict}")
    return DAMAGED if report.problems else 0


async def _list(operator: Operator, before: float | None) -> int:
    files = await operator.dated(await operator.files())
    # After the files were read: a program must not take an error for an empty list.
    _say(f"{'file':43}  {'bytes':>10}  {'pages':>7}  {'written (UTC)':24}  {'writer':16}  Machine")
    for file in files:
        header = file.header
        if header is None:
            _say(f"{file.ref.name:43}  {file.ref.size:10}  unreadable: {file.problem}")
        elif before is None or header.timestamp < before * 1000:
            moment = timestamps.text(header.timestamp / 1000)
            written = f"{header.commit:7}  {moment:24}  {header.node:016x}  {header.machine or '-'}"
            _say(f"{file.ref.name:43}  {file.ref.size:10}  {written}")
    return 0


async def _import(operator: Operator, given: argparse.Namespace, scratch: Path) -> int:
    if given.file is None:
        txid = await operator.take_over(scratch)
        _say("taken over already: nothing to do" if txid is None else f"taken over as TXID {txid:016x}")
        return 0
    if given.file.with_name(given.file.name + "-wal").exists():
        raise Refused(f"{given.file} has a -wal beside it: checkpoint it first (PRAGMA wal_checkpoint(TRUNCATE))")
    txid = await operator.replace(given.file.read_bytes(), scratch, over=given.replace)
    _say(f"imported as TXID {txid:016x}")
    return 0


def _unusable(given: argparse.Namespace) -> str:
    """What is wrong with the files that were named; empty where nothing is."""
    match given.command:
        case "restore" if not given.output.parent.is_dir():
            return f"{given.output}: there is no folder {given.output.parent}"
        case "import" if given.file is None:
            return "--replace needs a FILE" if given.replace else ""
        case "import" if not given.file.is_file():
            return f"{given.file}: there is no such file"
    return ""


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: expected ISO 8601, e.g. 2026-11-24T10:30:00Z (UTC where no zone is given)"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _complain(code: int, problem: object) -> int:
    sys.stderr.write(f"error: {problem}\n")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
