"""Several releases use the same data: a new release reads old data, and an old release runs again after a rollback."""

from __future__ import annotations

from parity.checks import Named, check, not_judged
from parity.checks.bucket import Bucket
from parity.checks.generic.support import PATIENCE_S, answered, empty_machine, not_declared, until
from parity.checks.machines import Machines
from parity.checks.person import Person, missing
from parity.checks.stage import Stage
from parity.contract import Refused


@check(
    "K",
    "Data of former releases is shown and can be changed, on a Machine with an empty disk too",
    broken=Named("old_data_ignored"),
    because="of the former release .* (is not shown|cannot write)",
    needs=("old_data",),
    rests_on=("test_writes_last",),
    deadline_s=200,
)
async def test_old_data(newcomer: Person, machines: Machines, bucket: Bucket) -> None:
    """Migrate before the first read, and upload the migrated data before the answer."""
    releases = await newcomer.app.old_data()
    if not releases:
        not_declared("the contract's old_data names no release")
    for release in releases:
        person = newcomer.another()  # they used the app under the former release, and not yet under this one
        left = (await person.app.old_data())[release]
        for key, data in left.objects.items():
            await bucket.put(key, data)
        back = await returned(person, await machines.first(), release)
        shown = await back.reads()
        gone = [text for text in left.shown if isinstance(shown, str) or text not in shown]
        assert not gone, (
            f"{gone[0]!r}, of the former release {release}, is not shown; shown: {shown}. Migrate the data before the"
            " first read"
        )
        write = await back.attempt()
        assert write.acknowledged, (
            f"a person with data of the former release {release} cannot write: {write.answer}. The migration must leave"
            " data that this release can change"
        )
        async with empty_machine(back, machines) as cold:
            again = await answered(back.on(cold))
        lost = [text for text in [*left.shown, write.text] if isinstance(again, str) or text not in again]
        assert not lost, (
            f"{lost[0]!r}, of the former release {release} or written after it, is not shown by a Machine with an"
            f" empty disk; shown: {again}. Upload the migrated data before the answer"
        )


async def returned(person: Person, machine: str, release: str) -> Person:
    """The person of that release in a new browser: by ``cold_person``, or by a sign-in where the contract lacks it."""
    try:
        if person.can("cold_person"):
            return await person.comes_back(machine)
        there = person.on(machine)
        await there.app.sign_in()
        return there
    except Refused as refused:
        raise AssertionError(f"a person of the former release {release} cannot come back: {refused}") from None


@check(
    "K",
    "After a rollback the older release shows what the newer one stored, and accepts writes",
    broken=Named("newer_data_refused"),
    because="after the deploy was taken back",
    needs=("newer_release",),
    rests_on=("test_durable",),
    alone=True,
    deadline_s=200,
)
async def test_deploy_taken_back(person: Person, staged: Stage, machines: Machines) -> None:
    """Only add columns and fields in a migration, and remove them one release later. Let older code ignore the rest."""
    kept = [await person.attempt()]
    async with staged.changed(person.app.newer_release):
        newer = person.on(await machines.first())
        shown = await until(newer.reads, lambda seen: not missing(kept, seen), PATIENCE_S)
        if missing(kept, shown):
            not_judged(f"the contract's newer release does not show an earlier write even before the rollback: {shown}")
        kept.append(await newer.attempt())
        if not kept[-1].acknowledged:
            not_judged(f"the contract's newer release acknowledges no write: {kept[-1].answer}")
    older = person.on(await machines.first())
    shown = await until(older.reads, lambda seen: not missing(kept, seen), PATIENCE_S)
    assert not missing(kept, shown), (
        f"after the deploy was taken back the older release does not show {missing(kept, shown)[0]}; shown: {shown}."
        " One request under the newer release changed the data so that a rollback cannot help: only add in a migration"
    )
    kept.append(await until(older.attempt, lambda write: write.acknowledged, PATIENCE_S))
    assert kept[-1].acknowledged, (
        f"after the deploy was taken back the older release acknowledges no write for {PATIENCE_S:g} s:"
        f" {kept[-1].answer}. One request under the newer release changed the data so that a rollback cannot help: only"
        " add in a migration"
    )
    async with empty_machine(older, machines) as cold:
        again = await answered(older.on(cold))
    assert not missing(kept, again), (
        f"after the deploy was taken back a Machine with an empty disk does not show {missing(kept, again)[0]}; shown:"
        f" {again}. The older release did not upload before its answer"
    )
