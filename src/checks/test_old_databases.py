"""The new image meets databases of earlier releases, and after a rollback one of a later release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from broken import newer_release, newer_schema_refused, schema_left_behind
from parity.checks import Wrap, check
from parity.checks.bucket import Bucket
from parity.checks.generic.support import until
from parity.checks.machines import ROUTED_WITHIN_S, Machines
from parity.checks.person import Person
from parity.checks.stack import Stack
from parity.checks.stage import Stage
from released_schemas import NEWER, OVERLAY, STEPS, database, ids

SHOWN = 150
FILE = "database.sqlite"
# Path → status and body.
Reads = Mapping[str, tuple[int, str]]


@check(
    "K",
    "A database of each earlier schema is migrated, in the bucket too, and the old file is kept",
    broken=Wrap(schema_left_behind.wrap),
    because="a database of schema .*: GET .* answered 500",
    alone=True,
    deadline_s=120,
)
async def test_old_databases(newcomer: Person, stack: Stack, machines: Machines, bucket: Bucket) -> None:
    """Migrate a database when it is opened, upload it under its new keys, and never change the old file."""
    paths = await _lists(stack)
    assert paths, "openapi.json has no GET that needs only a profile, so nothing was tested"
    wrong = []
    for version in range(1, len(STEPS) + 1):
        wrong += [
            f"a database of schema {version}: {reason}"
            for reason in await _migrated(newcomer, machines, bucket, version, paths)
        ]
    assert not wrong, "\n".join(wrong)


@check(
    "K",
    "A database that only a later release can read is not changed, and answered with 503 and Retry-After",
    unproven="no variant ignores the schema's number; that needs a release built from other sources",
    deadline_s=120,
)
async def test_later_database(newcomer: Person, bucket: Bucket) -> None:
    """Compare the schema's number before a database is opened; answer 503 with Retry-After where it is too new."""
    key = await _placed(newcomer, bucket, "schema-later", database(len(STEPS), NEWER))
    before = await bucket.objects(key)
    answers = {
        "read": await newcomer.api.ask("GET", "/api/settings"),
        "write": await newcomer.api.ask("PATCH", "/api/settings", {"theme": "light"}),
    }
    wrong = [
        f"a {what} answered {answer.status_code} {answer.text[:SHOWN]}, 503 with Retry-After expected"
        for what, answer in answers.items()
        if answer.status_code != 503 or "retry-after" not in answer.headers
    ]
    if await bucket.objects(key) != before:
        wrong.append("the file of a later release was changed")
    assert not wrong, "\n".join(wrong)


@check(
    "K",
    "After a rollback of a release that only added to the schema, the older release reads and writes",
    broken=Wrap(newer_schema_refused.wrap),
    because="after the deploy was taken back, GET .* answered 503",
    alone=True,
    deadline_s=180,
)
async def test_taken_back(newcomer: Person, staged: Stage, machines: Machines, bucket: Bucket) -> None:
    """Only add to the schema in a migration, and let a release accept a newer schema that only added to it."""
    paths = await _lists(staged.stack)
    older = newcomer.on(await machines.first())
    await _placed(newcomer, bucket, "schema-taken-back", database(len(STEPS)))
    await older.api.ask("POST", "/api/projects", {"name": "of the older release"})
    before = await _read(older, paths)
    async with staged.changed(Wrap(newer_release.wrap)):
        newer = newcomer.on(await machines.first())
        shown = await _read(newer, paths)
        written = await newer.api.ask("POST", "/api/projects", {"name": "of the newer release"})
    older = newcomer.on(await machines.first())
    after = await _read(older, paths)
    again = await older.api.ask("POST", "/api/projects", {"name": "of the older release again"})
    listed = (await older.api.ask("GET", "/api/projects")).text

    assert shown == before, f"the newer release shows something else: {_difference(before, shown)}"
    assert written.status_code == 201, f"the newer release answered a write with {written.status_code}"
    wrong = [
        f"after the deploy was taken back, GET {path} answered {status} {body[:SHOWN]}"
        for path, (status, body) in after.items()
        if status != before[path][0]
    ]
    if again.status_code != 201:
        wrong.append(f"after the deploy was taken back, a write answered {again.status_code} {again.text[:SHOWN]}")
    wrong += [
        f"{one!r} is not shown after the deploy was taken back"
        for one in ("of the older release", "of the newer release", "of the older release again")
        if f'"{one}"' not in listed
    ]
    assert not wrong, "\n".join(wrong)


async def _lists(stack: Stack) -> list[str]:
    """The paths of every GET that needs only a profile. They come from openapi.json, so that new routes are covered."""
    paths: Mapping[str, Any] = (await stack.http.get("/openapi.json")).json()["paths"]

    def of_a_profile(operation: Mapping[str, Any]) -> bool:
        needed = {one["name"].lower() for one in operation.get("parameters", []) if one.get("required")}
        return needed == {"x-user-id", "x-profile-id"}

    return sorted(path for path, item in paths.items() if "{" not in path and of_a_profile(item.get("get") or {}))


async def _placed(person: Person, bucket: Bucket, profile: str, data: bytes) -> str:
    """A profile as a release before replication left it; the client that names it is how the app learns of it."""
    person.api.headers.update({"X-User-ID": person.api.user, "X-Profile-ID": profile})
    key = f"staging/users/{person.api.user}/profiles/{profile}/{FILE}"
    await bucket.put(key, data)
    return key


async def _read(person: Person, paths: Sequence[str]) -> Reads:
    """What the person is answered. While the edge refuses a read all are repeated, for ``ROUTED_WITHIN_S`` seconds.

    On a busy host it does after a health check has missed its timeout once. Its 503 has no body; that of the app has.
    """

    async def once() -> Reads:
        answers = {path: await person.api.ask("GET", path) for path in paths}
        return {path: (answer.status_code, answer.text) for path, answer in answers.items()}

    return await until(once, lambda found: (503, "") not in found.values(), ROUTED_WITHIN_S)


def _difference(before: Reads, after: Reads) -> str:
    path = next(path for path in before if before[path] != after[path])
    return f"GET {path} was {before[path][0]} {before[path][1][:SHOWN]}, is {after[path][0]} {after[path][1][:SHOWN]}"


async def _migrated(
    person: Person, machines: Machines, bucket: Bucket, version: int, paths: Sequence[str]
) -> list[str]:
    person = person.on(await machines.first())
    key = await _placed(person, bucket, f"schema-{version}", database(version))
    folder, kept = key.removesuffix(FILE), (await bucket.objects(key))[key]
    warm = await _read(person, paths)
    written = await person.api.ask("POST", "/api/projects", {"name": "of the new release"})
    stored = await bucket.objects(folder)
    async with machines.one_more() as other:
        cold = await _read(person.on(other), paths)
    after = await bucket.objects(folder)

    wrong = [f"GET {path} answered {status} {body[:SHOWN]}" for path, (status, body) in warm.items() if status != 200]
    if written.status_code != 201:
        wrong.append(f"a write answered {written.status_code} {written.text[:SHOWN]}, 201 expected")
    shown = "".join(body for status, body in warm.values() if status == 200)
    wrong += [f"{one!r}, which was in it, is shown nowhere" for one in (OVERLAY, *ids(version)) if one not in shown]
    if not any("/database/" in name for name in stored):
        wrong.append("nothing of it is in the bucket but the old file: the migration never got there")
    if after.get(key) != kept:
        wrong.append("the old file is gone or changed: there is no way back")
    for path, (status, body) in cold.items():
        if status != 200:
            wrong.append(f"on a Machine with an empty disk GET {path} answered {status}")
        elif warm[path][0] == 200 and path != "/api/projects" and body != warm[path][1]:
            wrong.append(f"a Machine with an empty disk shows another {path}")
    if written.status_code == 201 and not any(written.json()["id"] in body for _, body in cold.values()):
        wrong.append("a Machine with an empty disk does not show what was written after the migration")
    # A Machine takes over a profile by a claim of its own; what it reads must not need a migration again.
    changed = [name for name in stored if name != key and name in after and stored[name] != after[name]]
    if changed:
        wrong.append(f"a Machine that only read changed {', '.join(changed[:3])}")
    return wrong
