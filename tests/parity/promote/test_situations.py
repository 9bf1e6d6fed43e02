"""What can happen to a promotion, each walked against the stand-in's own API: the old version goes on serving.

With flyctl where PATH has one, else with the double that makes its recorded calls. A failed check, a dirty tree and a
receipt of another image are refused before any of this: ``test_cli.py``.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from contextlib import ExitStack

import pytest
from tests.parity.promote.standin_world import World, shared_world

from parity.config.errors import ConfigError
from parity.promote.journal import only_one
from parity.promote.run import Ended

# Two promotions and a rollback start some 40 processes, which takes long on a busy machine.
pytestmark = pytest.mark.timeout(600)
# The steps of a promotion at which its process is killed; test_runner.py does the same at every step.
KILLED_AT = ["secrets", "push", "deploy", "verify", "live checks"]


shared = pytest.fixture(scope="module")(shared_world)


@pytest.fixture
def world(shared: World) -> World:
    """The app serves the version ``old``, which was promoted; nothing of an earlier test is left."""
    shared.changes, shared.extra_environ, shared.live, shared.top = {}, {}, 0, ""
    shared.secrets = ("MODAL_TOKEN_ID", "R2_BUCKET")
    (shared.folder / "docker.json").unlink(missing_ok=True)
    if not shared.started or shared.serving() != "old":
        assert shared.promote(shared.image("old")) is Ended.PROMOTED, shared.text
    assert shared.serving() == "old"
    return shared


def refused(world: World, image: str, why: str) -> None:
    """The promotion changes nothing, says why, and the old version serves."""
    (before,) = world.machines()
    release = before.spec.environment["FLY_MACHINE_VERSION"]
    assert world.promote(image) is Ended.NOTHING_CHANGED, world.text
    assert why in world.text
    assert [machine.spec.environment["FLY_MACHINE_VERSION"] for machine in world.machines()] == [release]
    assert world.serving() == "old"


def rolled_back(world: World, image: str) -> None:
    """The promotion goes back, and the old version serves."""
    assert world.promote(image) is Ended.ROLLED_BACK, world.text
    assert world.serving() == "old"


def test_a_first_deploy_makes_the_machine_and_the_next_one_replaces_it(world: World) -> None:
    world.empty()
    assert world.promote(world.image("first")) is Ended.PROMOTED, world.text
    assert "There is nothing to go back to" in world.text
    assert world.serving() == "first"
    (before,) = world.machines()
    assert world.promote(world.image("second")) is Ended.PROMOTED, world.text
    assert (world.serving(), world.machines()) == ("second", [before])


def test_a_first_deploy_that_fails_asks_for_a_person(world: World) -> None:
    world.empty()
    world.changes = {"wait_timeout_s": 3}
    assert world.promote(world.image("sick", health=500)) is Ended.NEEDS_A_PERSON, world.text
    assert "nothing to go back to" in world.text.lower()


def test_without_a_login_nothing_is_changed(world: World) -> None:
    world.extra_environ = {"FLY_API_TOKEN": ""}
    refused(world, world.image("new"), "No access token available")


def test_a_secret_that_fly_lacks_is_named(world: World) -> None:
    world.secrets = ("MODAL_TOKEN_ID", "OTHER", "R2_BUCKET")
    refused(world, world.image("new"), "Fly lacks OTHER")


def test_a_secret_that_the_checks_never_saw_is_named(world: World) -> None:
    world.secrets = ("R2_BUCKET",)
    refused(world, world.image("new"), "Fly has MODAL_TOKEN_ID")


def test_a_tag_that_holds_another_image_by_then_is_not_deployed(world: World) -> None:
    other = world.image("other")
    (world.folder / "docker.json").write_text(f'{{"push_other": "{other}"}}')
    refused(world, world.image("new"), "is not the image that was checked")


def test_a_registry_that_is_down_changes_nothing(world: World) -> None:
    world.extra_environ = {"FLY_REGISTRY_HOST": "127.0.0.1:9"}
    refused(world, world.image("new"), "127.0.0.1:9")


def test_a_misspelt_key_of_fly_toml_is_refused_before_the_push(world: World) -> None:
    world.top = 'kill_signall = "SIGINT"'
    refused(world, world.image("new"), "kill_signall")


def test_failing_live_checks_bring_the_old_version_back(world: World) -> None:
    world.live = 1
    rolled_back(world, world.image("new"))


def test_an_image_that_never_turns_healthy_is_taken_back(world: World) -> None:
    world.changes = {"wait_timeout_s": 40}  # also for the old version, which has to get healthy
    rolled_back(world, world.image("sick", health=500))
    assert "timeout reached waiting for health checks" in world.text


def test_a_rollback_of_a_rollback_goes_to_the_same_good_version(world: World) -> None:
    world.live = 1
    for commit in ("bad", "worse"):
        rolled_back(world, world.image(commit))


def test_an_image_that_reports_another_commit_is_taken_back(world: World) -> None:
    world.changes = {"commit": "new"}
    rolled_back(world, world.image("not-new"))
    assert "reports commit 'not-new'" in world.text


def test_a_sleeping_machine_is_woken_and_its_new_version_checked(world: World) -> None:
    (machine,) = world.machines()
    world.do(machine.stop())
    assert world.promote(world.image("new")) is Ended.PROMOTED, world.text
    assert world.started
    assert world.serving() == "new"


def test_a_lease_that_another_holds_leaves_everything_as_it_is(world: World) -> None:
    (machine,) = world.machines()
    world.call("POST", f"/v1/apps/tiny/machines/{machine.id}/lease?ttl=600")
    try:
        refused(world, world.image("new"), "failed to get lease")
    finally:
        world.call("DELETE", f"/v1/apps/tiny/machines/{machine.id}/lease")


def test_a_second_promotion_of_this_checkout_is_refused_while_one_runs(world: World) -> None:
    with only_one(world.state), pytest.raises(ConfigError, match="another promotion runs"):
        world.promote(world.image("new"))
    assert world.serving() == "old"


def test_a_promotion_of_another_checkout_that_deploys_first_is_not_taken_back(world: World) -> None:
    (machine,) = world.machines()
    gate = world.folder / "theirs-starts"
    before, slow = machine.spec.image, world.image("theirs", gate=str(gate))
    their_state = world.folder / "their-state"

    def said(line: str) -> None:
        world.said.append(line)
        if "failed to get lease" in line:  # theirs held it until now, because their Machine has not started
            gate.touch()
        if "fly deploy" in line and not line.startswith("  "):  # ours is about to ask for the lease that theirs holds
            theirs.append(stack.enter_context(world.promoting(slow, state=their_state)))
            world.until(lambda: machine.spec.image != before, "their image is being put in force")

    theirs: list[subprocess.Popen[str]] = []
    with ExitStack() as stack:
        ended = world.promote(world.image("ours"), said)
        assert ended is Ended.NOTHING_CHANGED, world.text
        assert theirs[0].wait() == Ended.PROMOTED
    assert "another deploy has released another image meanwhile" in world.text
    assert world.serving() == "theirs"


def test_a_promotion_of_another_checkout_that_comes_after_our_deploy_is_not_taken_back(world: World) -> None:
    def said(line: str) -> None:
        world.said.append(line)
        if "Machine" in line and "update succeeded" in line:
            with world.promoting(world.image("later"), state=world.folder / "their-state") as theirs:
                assert theirs.wait() == Ended.PROMOTED

    assert world.promote(world.image("ours"), said) is Ended.NEEDS_A_PERSON, world.text
    assert "another deploy has released another image meanwhile" in world.text
    assert world.serving() == "later"


def test_a_deploy_of_another_checkout_between_our_steps_is_noticed_before_ours(world: World) -> None:
    theirs = world.image("theirs-first")

    def said(line: str) -> None:
        world.said.append(line)
        if "image push" in line:
            with world.promoting(theirs, state=world.folder / "their-state") as process:
                assert process.wait() == Ended.PROMOTED

    assert world.promote(world.image("ours"), said) is Ended.NOTHING_CHANGED, world.text
    assert "another deploy changed tiny meanwhile" in world.text
    assert world.serving() == "theirs-first"


def test_sigterm_while_the_machine_is_replaced_gives_the_lease_back_and_a_rerun_goes_on(world: World) -> None:
    gate = world.folder / "slow-starts"
    slow = world.image("slow", gate=str(gate))
    (machine,) = world.machines()
    threading.Thread(target=_when_replaced, args=(world, machine, signal.SIGTERM), daemon=True).start()
    assert world.promote(slow) is Ended.NEEDS_A_PERSON, world.text
    assert "SIGTERM during 'deploy'" in world.text
    assert not list(world.state.glob("flyctl-*"))
    gate.touch()
    world.until(lambda: world.serving() in ("old", "slow"), "a version serves")
    assert world.promote(slow) is Ended.PROMOTED, world.text
    assert world.serving() == "slow"


def _when_replaced(world: World, machine: object, number: int) -> None:
    before = machine.spec.image  # type: ignore[attr-defined]
    world.until(lambda: machine.spec.image != before, "the Machine is replaced")  # type: ignore[attr-defined]
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("at", KILLED_AT)
def test_killed_at_a_step_a_version_serves_and_a_rerun_promotes(world: World, at: str) -> None:
    new = world.image(f"new-{at}")
    world.promote_and_be_killed(new, at)
    assert world.serving() in ("old", f"new-{at}")
    assert world.promote(new) is Ended.PROMOTED, world.text
    assert world.serving() == f"new-{at}"
    assert not list(world.state.glob("flyctl-*"))


def test_after_a_restart_of_the_standin_the_way_back_is_the_last_release_that_completed(world: World) -> None:
    world.promote_and_be_killed(world.image("unfinished"), "verify")
    shutil.rmtree(world.state)  # another checkout's journal knows nothing
    failed = world.image("sick-again", health=500)
    world.changes = {"wait_timeout_s": 4}
    world.promote_and_be_killed(failed, "roll back")
    shutil.rmtree(world.state)
    world.restart()
    world.changes, world.live = {}, 1
    assert world.promote(world.image("fix")) is Ended.ROLLED_BACK, world.text
    assert "is the newest that completed" in world.text
    assert world.serving() == "unfinished"


def test_killed_during_the_rollback_a_rerun_still_knows_the_way_back(world: World) -> None:
    world.live = 1
    bad = world.image("bad-again")
    world.promote_and_be_killed(bad, "roll back")
    assert world.serving() == "bad-again"
    rolled_back(world, bad)
