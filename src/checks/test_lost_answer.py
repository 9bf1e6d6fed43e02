"""R2 stored an upload but its answer was lost: the app recognises its own object and continues."""

from __future__ import annotations

from broken import stuck_after_lost_answer
from journey import profile_prefix
from parity.checks import Wrap, check
from parity.checks.faults import Faults
from parity.checks.person import Person, missing

AFTERWARDS = 3


@check(
    "D",
    "When R2 stored an upload but its answer was lost, the write is acknowledged and later writes work",
    broken=Wrap(stuck_after_lost_answer.wrap),
    because="writes after it are refused",
    deadline_s=120,
)
async def test_lost_answer(person: Person, faults: Faults) -> None:
    """When an upload got no answer, ask R2 for the object, and acknowledge the write if it is the app's own."""
    # Now the profile's database exists, and this Machine owns it.
    await person.write()
    async with faults.on(f"{profile_prefix(person)}database/*", "PutObject", times=1, drop="after"):
        during = await person.attempt()
    after = [await person.attempt() for _ in range(AFTERWARDS)]
    wrong = [] if during.acknowledged else [f"its own upload stopped the write: {during.answer}"]
    if refused := [write.answer for write in after if not write.acknowledged]:
        wrong.append(f"{len(refused)} of {AFTERWARDS} writes after it are refused: {refused[0]}")
    if lost := missing([during, *after], await person.reads()):
        wrong.append(f"{len(lost)} acknowledged writes are not shown")
    assert not wrong, "\n".join(wrong)


@check(
    "D",
    "When the answer to the upload of the registry was lost, the new profile is listed exactly once",
    unproven="no variant can break only the registry from outside; the unit tests of profiles cover it",
    deadline_s=120,
)
async def test_lost_answer_of_a_profile(person: Person, faults: Faults) -> None:
    """When the upload of the registry got no answer, read it again, and add the profile only if it is absent."""
    async with faults.on(f"{person.owns}profiles.json", "PutObject", times=1, drop="after"):
        answer = await person.api.ask("POST", "/api/profiles", {"name": "second"})
    listed = (await person.api.call("GET", "/api/profiles"))["profiles"]
    shown = [profile["name"] for profile in listed].count("second")
    assert answer.status_code == 201, f"a profile whose upload's answer was lost: {answer.status_code}, 201 expected"
    assert shown == 1, f"the profile whose upload's answer was lost is listed {shown} times"
