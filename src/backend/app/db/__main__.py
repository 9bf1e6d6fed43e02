"""`python -m app.db`: the schema that this release knows, as JSON; needs no settings and asks nothing.

    {"version": 3, "oldest": 2, "migrations": [{"version": 1, "name": "m0001_settings", "oldest": 1}, …]}

`version` is how many migrations it knows, `oldest` the schema version from which on another release can work with a
database that this one has migrated. `--back-to VERSION` asks whether a deploy of this release can be taken back to one
that knows VERSION: exit status 0 when it can, 1 when it cannot, with a line on stderr for each migration that closes
the way.
"""

import argparse
import json
import sys

from app.db.schema import all_migrations, oldest_version


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m app.db", description="The schema that this release knows.")
    parser.add_argument("--back-to", type=int, metavar="VERSION", help="schema version of the release to go back to")
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


if __name__ == "__main__":
    sys.exit(main())
