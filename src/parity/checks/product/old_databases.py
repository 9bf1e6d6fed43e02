"""The new image meets databases of earlier releases, and after a rollback one of a later release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from parity.checks.broken import schema_left_behind
from parity.checks.kit.machines import one_more
from parity.checks.kit.tools import Tools
from parity.checks.model import Broken, Check, Need, ProductFault, Wrap
from parity.checks.product.caller import Caller, user_prefix
from parity.checks.product.released_schemas import NEWER, OVERLAY, STEPS, database, ids

SHOWN = 150


@dataclass(frozen=True)
class Read:
    """What one GET answered."""

    path: str
    status: int
    body: str


@dataclass(frozen=True)
class Migrated:
    """A profile whose database has ``version``: ``reads`` of every list and of the settings, then a write.

    ``kept`` and ``kept_after``: the ETag of the whole file that was there; ``cold``: the same reads on a Machine with
    an empty disk; ``stored_by_reading``: keys that this Machine's reads added or changed.
    """

    version: int
    expected: Sequence[str]
    reads: Sequence[Read]
    write: int
    written: str
    replicated: Sequence[str]
    kept: str
    kept_after: str
    cold: Sequence[Read]
    stored_by_reading: Sequence[str]


@dataclass(frozen=True)
class Later:
    """A profile that a later release has written: status, Retry-After and body of a read and of a write."""

    answers: Mapping[str, tuple[int, str, str]]
    changed: Sequence[str]


@dataclass(frozen=True)
class OldDatabasesObservation:
    """``paths``: what was read, from the API's own description."""

    paths: Sequence[str]
    migrated: Sequence[Migrated]
    later: Later


async def observe(tools: Tools) -> OldDatabasesObservation:
    paths = await _lists(tools)
    migrated = [await _migrated(tools, version, paths) for version in range(1, len(STEPS) + 1)]
    return OldDatabasesObservation(paths, migrated, await _later(tools))


async def _lists(tools: Tools) -> list[str]:
    """Every GET of a profile that needs no more than the profile: a new one is covered without being named here."""
    answer = await tools.http.request("GET", "/openapi.json")
    if answer.status_code != 200:
        raise ProductFault(f"/openapi.json answered {answer.status_code}")
    paths: Mapping[str, Any] = answer.json()["paths"]
    return sorted(path for path, item in paths.items() if "{" not in path and _of_a_profile(item.get("get") or {}))


def _of_a_profile(operation: Mapping[str, Any]) -> bool:
    needed = {parameter["name"] for parameter in operation.get("parameters", []) if parameter.get("required")}
    return needed == {"X-User-ID", "X-Profile-ID"}


async def _migrated(tools: Tools, version: int, paths: Sequence[str]) -> Migrated:
    caller, file = await _placed(tools, f"schema-{version}", database(version))
    kept = (await _etags(tools, file))[file]
    reads = [await _read(caller, path) for path in paths]
    written = await caller.ask("POST", "/api/projects", {"name": "of the new release"})
    stored = await _etags(tools, file.removesuffix("database.sqlite"))
    async with one_more(tools.admin) as cold:
        again = [await _read(caller.on(cold), path) for path in paths]
    stored_after = await _etags(tools, file.removesuffix("database.sqlite"))
    return Migrated(
        version=version,
        expected=(OVERLAY, *ids(version)),
        reads=reads,
        write=written.status_code,
        written=written.json()["id"] if written.status_code == 201 else written.text[:SHOWN],
        replicated=[key for key in stored if "/database/" in key],
        kept=kept,
        kept_after=stored_after.get(file, ""),
        cold=again,
        stored_by_reading=_changed(stored, stored_after),
    )


async def _later(tools: Tools) -> Later:
    caller, file = await _placed(tools, "schema-later", database(len(STEPS), NEWER))
    before = await _etags(tools, file)
    answers = {
        "read": await caller.ask("GET", "/api/settings"),
        "write": await caller.ask("PATCH", "/api/settings", {"theme": "light"}),
    }
    return Later(
        {what: (a.status_code, a.headers.get("retry-after", ""), a.text[:SHOWN]) for what, a in answers.items()},
        _changed(before, await _etags(tools, file)),
    )


async def _placed(tools: Tools, profile: str, data: bytes) -> tuple[Caller, str]:
    """A profile as a release before replication left it; the client that names it is how the backend learns of it."""
    key = f"{user_prefix(tools)}profiles/{profile}/database.sqlite"
    await tools.bucket.put(key, data)
    return Caller(tools, profile), key


async def _read(caller: Caller, path: str) -> Read:
    answer = await caller.ask("GET", path)
    return Read(path, answer.status_code, answer.text)


async def _etags(tools: Tools, prefix: str) -> dict[str, str]:
    answer = await tools.admin.call("GET", f"/r2/objects?prefix={prefix}")
    return {entry["key"]: entry["etag"] for entry in answer["objects"]}


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def judge(seen: OldDatabasesObservation) -> list[str]:
    reasons = [] if seen.paths else ["the API describes no list of a profile: nothing was read"]
    for one in seen.migrated:
        reasons += [f"a database of schema {one.version}: {reason}" for reason in judge_migrated(one)]
    return reasons + judge_later(seen.later)


def judge_migrated(one: Migrated) -> list[str]:
    reasons = [
        f"GET {read.path} answered {read.status} {read.body[:SHOWN]}" for read in one.reads if read.status != 200
    ]
    if one.write != 201:
        reasons.append(f"a write answered {one.write} {one.written}, 201 expected")
    shown = "".join(read.body for read in one.reads if read.status == 200)
    reasons += [f"{name!r}, which was in it, is shown nowhere" for name in one.expected if name not in shown]
    if not one.replicated:
        reasons.append("nothing of it is in the bucket but the old file: the migration never got there")
    if one.kept != one.kept_after:
        reasons.append("the old file is gone or changed: there is no way back")
    for first, cold in zip(one.reads, one.cold, strict=True):
        if cold.status != 200:
            reasons.append(f"on a Machine with an empty disk GET {cold.path} answered {cold.status}")
        elif first.status == 200 and first.path != "/api/projects" and first.body != cold.body:
            reasons.append(f"a Machine with an empty disk shows another {cold.path}")
    if one.write == 201 and not any(one.written in read.body for read in one.cold):
        reasons.append("a Machine with an empty disk does not show what was written after the migration")
    if one.stored_by_reading:
        reasons.append(
            "a Machine that only read had to write, so the migration had not reached the bucket: "
            f"{', '.join(one.stored_by_reading[:3])}"
        )
    return reasons


def judge_later(later: Later) -> list[str]:
    reasons = [
        f"a {what} of a database of a later release answered {status} {body}, 503 with Retry-After expected"
        for what, (status, retry_after, body) in later.answers.items()
        if status != 503 or not retry_after
    ]
    if later.changed:
        reasons.append(f"the file of a later release was changed: {', '.join(later.changed)}")
    return reasons


OLD_DATABASES: Check[OldDatabasesObservation] = Check(
    id="old-database-under-new-image",
    title="A database of every earlier schema is migrated, in the bucket too; one of a later schema is left alone",
    capability="K",
    observe=observe,
    judge=judge,
    broken=Broken("the code is ahead of the schema: migrations do not run", Wrap(schema_left_behind)),
    needs=frozenset({Need.ADMIN}),
    deadline_s=120.0,
)
