"""Which release there is to go back to."""

from __future__ import annotations

import pytest

from parity.promote.machines import Machine, UnreadableAnswer
from parity.promote.releases import FlyRelease, parse_releases, way_back

OLD, NEW, BAD = ("sha256:" + digit * 64 for digit in "123")
REPOSITORY = "registry.fly.io/demo"


def at(digest: str, status: str = "passing", machine_id: str = "m1") -> Machine:
    return Machine(machine_id, "started", f"{REPOSITORY}@{digest}", {"http": status})


def release(version: int, digest: str, status: str = "complete") -> FlyRelease:
    return FlyRelease(version, status, f"{REPOSITORY}@{digest}")


def chosen(
    machines: list[Machine],
    releases: list[FlyRelease],
    good: tuple[str, ...] = (),
    bad: tuple[str, ...] = (),
    tags: dict[str, str] | None = None,
) -> str | None:
    found = way_back(machines, releases, good, bad, lambda image: (tags or {}).get(image, ""))
    return found.digest if found else None


def test_what_every_machine_runs_is_the_way_back() -> None:
    assert chosen([at(OLD), at(OLD, machine_id="m2")], [release(1, OLD)]) == OLD
    assert chosen([at(OLD)], []) == OLD


def test_before_the_first_deploy_there_is_none() -> None:
    assert chosen([], []) is None


def test_over_a_failed_release_the_newest_completed_one_is() -> None:
    assert chosen([at(BAD, "critical")], [release(3, BAD, "failed"), release(2, OLD), release(1, NEW)]) == OLD


def test_over_a_release_that_this_checkout_rolled_back_by_hand_another_one_is() -> None:
    assert chosen([at(BAD)], [release(3, BAD), release(2, OLD)], bad=(BAD,)) == OLD


def test_what_failed_first_and_completed_later_counts_by_its_newest_release() -> None:
    assert chosen([at(OLD)], [release(3, OLD), release(2, OLD, "failed")]) == OLD


def test_a_half_done_deploy_goes_back_to_the_newest_completed_release() -> None:
    assert chosen([at(OLD), at(BAD, "critical", "m2")], [release(2, BAD, "failed"), release(1, OLD)]) == OLD


def test_a_release_by_tag_is_resolved_to_its_digest() -> None:
    releases = [release(2, BAD, "failed"), FlyRelease(1, "complete", f"{REPOSITORY}:v1")]
    assert chosen([at(BAD)], releases, tags={f"{REPOSITORY}:v1": OLD}) == OLD


def test_without_a_list_of_releases_the_journal_knows() -> None:
    assert chosen([at(BAD), at(NEW, machine_id="m2")], [], good=(OLD,), bad=(BAD,)) == OLD


def test_a_guess_between_images_is_refused() -> None:
    with pytest.raises(UnreadableAnswer, match="deploy one image by hand"):
        chosen([at(OLD), at(NEW, machine_id="m2")], [])


@pytest.mark.parametrize("text", ["x", "[{}]", '[{"Version": 1}]', '{"a": 1}'])
def test_an_answer_that_is_no_list_of_releases_is_refused(text: str) -> None:
    with pytest.raises(UnreadableAnswer, match="fly releases"):
        parse_releases(text)


def test_releases_come_newest_first() -> None:
    entry = '{"Version": %d, "Status": "complete", "ImageRef": "x@sha256:1"}'
    assert [r.version for r in parse_releases(f"[{entry % 1}, {entry % 3}]")] == [3, 1]
    assert parse_releases("null") == []
