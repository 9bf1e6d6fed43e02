"""`python -m app.db` prints the schema that this release knows, as JSON. It needs no settings and no network.

    {"version": 3, "oldest": 2, "migrations": [{"version": 1, "name": "m0001_settings", "oldest": 1}, …]}

`version` is the number of migrations. `oldest` is the lowest schema version that a release must know to use a database
that this release has migrated. `--back-to RELEASE` asks whether this release can be rolled back to RELEASE, which is a
schema version or the output of this command in that release. Exit status 0: it can. Exit status 1: it cannot, and
stderr has a line for each migration that prevents it. A promotion uses this (parity.toml, `[promotion]`).
"""

import argparse
import json
import sys

from app.db.schema import all_migrations, oldest_version


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m app.db", description="The schema that this release knows.")
    parser.add_argument(
        "--back-to", type=_version, metavar="RELEASE", help="its schema version, or what this command printed in it"
    )
    wanted = parser.parse_args(arguments)
    steps = all_migrations()
    listed = [{"version": number, "name": step.name, "oldest": step.oldest} for number, step in enumerate(steps, 1)]
    known = {"version": len(steps), "oldest": oldest_version(steps), "migrations": listed}
    sys.stdout.write(json.dumps(known) + "\n")
    if wanted.back_to is None:
        return 0
    closing = [step for step in steps[max(0, wanted.back_to) :] if step.oldest > wanted.back_to]
    for step in closing:
        sys.stderr.write(
            f"{step.name}: once a database is migrated, a release that knows only schema version {wanted.back_to} "
            f"cannot use it; {step.oldest} is the oldest that can\n"
        )
    return 1 if closing else 0


def _version(release: str) -> int:
    try:
        said = json.loads(release)
        return int(said["version"] if isinstance(said, dict) else said)
    except (ValueError, KeyError, TypeError):
        raise argparse.ArgumentTypeError(
            f"{release[:100]!r}: expected a schema version or the JSON that this command prints"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
