from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.parity.json_server import json_server
from tests.parity.promote.conftest import MANIFEST, NEW

from parity.config.errors import ConfigError
from parity.config.fly_toml import FlyConfig
from parity.config.machine_config import machine_config
from parity.promote.commands import Gpu
from parity.promote.journal import only_one
from parity.promote.run import Ended

if TYPE_CHECKING:
    from tests.parity.promote.conftest import World

OLD = "sha256:" + "1" * 64
OTHER = "sha256:" + "9" * 64
STEPS = [
    "config validate",
    "secrets list",
    "machine list",
    "releases --app",
    "config save",
    "auth docker",
    "deploy --app",
]


def verbs(world: World) -> list[str]:
    return [" ".join(argv[:3]) for argv in world.calls()]


def test_a_promotion_ends_with_every_machine_on_the_pushed_digest(world: World) -> None:
    assert world.promote() is Ended.PROMOTED
    pushed = "sha256:" + hashlib.sha256(world.docker["manifests"]["tag"].encode()).hexdigest()
    assert world.running == [pushed]
    assert world.fly["deployed"] == [f"registry.fly.io/demo@{pushed}"]


def test_what_the_deploy_changes_besides_the_image_is_said_before_it(world: World) -> None:
    """An old checkout's fly.toml would else shrink the Machines without a word."""
    world.config = FlyConfig.model_validate(
        {"app": "demo", "http_service": {"internal_port": 8080}, "vm": [{"memory": "512mb"}]}
    )
    as_deployed = machine_config(world.config, "image")
    for machine, memory_mb in zip(world.fly["machines"], (2048, 512), strict=False):
        guest = {**as_deployed["guest"], "memory_mb": memory_mb}
        machine["config"] = {**as_deployed, "guest": guest}
    assert world.promote() is Ended.PROMOTED
    assert [line for line in world.said if "WARNING" in line] == [
        "WARNING: Machine m1 (app) has guest.memory_mb 2048, and fly.toml says 512. This deploy changes it"
    ]


def test_the_steps_come_in_the_order_that_keeps_a_bad_image_out(world: World) -> None:
    world.promote()
    assert verbs(world) == [
        "fly config validate",
        "fly secrets list",
        "fly machine list",
        "fly releases --app",
        "fly config save",
        "fly auth docker",
        "docker image tag",
        "docker image push",
        "docker buildx imagetools",
        "fly machine list",
        "fly machine list",
        "fly deploy --app",
        "fly machine list",
        "fly machine list",
        "checks -m parity.cli.main",
    ]


def test_the_image_that_is_pushed_is_named_by_its_digest(world: World) -> None:
    world.promote()
    assert world.docker["tags"] == {"registry.fly.io/demo:abc": "sha256:" + "c" * 64}


def test_a_sleeping_machine_is_woken_before_it_is_updated(world: World) -> None:
    world.fly["machines"][0]["state"] = "stopped"
    assert world.promote() is Ended.PROMOTED
    order = verbs(world)
    assert order.index("fly machine start") < order.index("fly deploy --app")
    assert world.fly["machines"][0]["state"] == "started"


def test_an_index_is_followed_to_its_amd64_image(world: World) -> None:
    image = world.docker["manifests"]["tag"]
    digest = "sha256:" + hashlib.sha256(image.encode()).hexdigest()
    entries = [
        {"digest": OTHER, "platform": {"os": "unknown", "architecture": "unknown"}},
        {"digest": digest, "platform": {"os": "linux", "architecture": "amd64"}},
    ]
    world.docker["manifests"] = {"tag": json.dumps({"manifests": entries}), digest: image}
    assert world.promote() is Ended.PROMOTED
    assert world.running == [digest]


def test_nothing_is_deployed_when_the_registry_holds_another_image(world: World) -> None:
    world.docker["manifests"]["tag"] = json.dumps({"config": {"digest": OTHER}})
    assert world.promote() is Ended.NOTHING_CHANGED
    assert world.running == [OLD]
    assert "deployed" not in world.fly
    assert OTHER in world.text


def test_nothing_is_pushed_when_fly_lacks_a_secret(world: World) -> None:
    del world.fly["secrets"]["R2_BUCKET"]
    assert world.promote() is Ended.NOTHING_CHANGED
    assert "pushed" not in world.docker
    assert "Fly lacks R2_BUCKET" in world.text


def test_nothing_is_pushed_when_fly_holds_a_secret_that_the_checks_never_saw(world: World) -> None:
    world.fly["secrets"]["CORS_ORIGINS"] = "Deployed"
    assert world.promote() is Ended.NOTHING_CHANGED
    assert "pushed" not in world.docker
    assert "CORS_ORIGINS, which the checks ran without" in world.text


@pytest.mark.parametrize("held", [True, False])
def test_an_optional_secret_may_be_there_and_is_warned_of_when_it_is_not(world: World, held: bool) -> None:
    world.changes = {"optional_secrets": ("ACCESS_TOKEN",)}
    if held:
        world.fly["secrets"]["ACCESS_TOKEN"] = "Deployed"
    assert world.promote() is Ended.PROMOTED
    assert ("WARNING: Fly has no ACCESS_TOKEN" in world.text) is not held


OLD_IMAGE = f"registry.fly.io/demo@{OLD}"


def asks_for_the_way_back(world: World, *, knows: dict[str, object], answer: dict[str, object]) -> None:
    """``knows`` is how the old image's command ends, ``answer`` how the new one's does, which is told ``7``."""
    world.changes = {"knows": ("app", "knows"), "way_back": ("app", "back", "{knows}")}
    world.docker["images"] = {f"app {OLD_IMAGE} knows": knows, f"app sha256:{'c' * 64} back 7": answer}


CLOSED = {"out": "", "err": "m0009_drop: nobody reads it", "code": 1}
UNKNOWN = {"out": "", "err": "No module named app", "code": 1}


def test_a_release_that_can_be_taken_back_needs_no_consent(world: World) -> None:
    asks_for_the_way_back(world, knows={"out": "7"}, answer={"out": ""})
    assert world.promote() is Ended.PROMOTED


@pytest.mark.parametrize(
    ("knows", "answer", "named"),
    [({"out": "7"}, CLOSED, "m0009_drop"), (UNKNOWN, {"out": ""}, "No module named app")],
    ids=["closed", "unknown"],
)
def test_a_release_that_closes_the_way_back_is_named_and_needs_a_word_of_consent(
    world: World, knows: dict[str, object], answer: dict[str, object], named: str
) -> None:
    asks_for_the_way_back(world, knows=knows, answer=answer)
    assert world.promote() is Ended.NOTHING_CHANGED
    assert "pushed" not in world.docker
    assert named in world.text
    assert "--consent-no-way-back" in world.text
    world.no_way_back = True
    assert world.promote() is Ended.PROMOTED
    assert "WARNING" in world.text


def test_a_first_release_has_no_way_back_to_ask_for(world: World) -> None:
    asks_for_the_way_back(world, knows=UNKNOWN, answer=CLOSED)
    world.fly["machines"] = []
    world.promote()
    assert not any(argv[:2] == ["docker", "run"] for argv in world.calls())


def test_nothing_is_pushed_when_strict_validation_refuses_the_configuration(world: World) -> None:
    world.fly["config_error"] = "unrecognized key: auto_stop_machine"
    assert world.promote() is Ended.NOTHING_CHANGED
    assert "pushed" not in world.docker
    assert "auto_stop_machine" in world.text


def test_a_health_check_that_never_passes_brings_the_earlier_image_back(world: World) -> None:
    world.fly["sick_digest"] = "sha256:" + hashlib.sha256(world.docker["manifests"]["tag"].encode()).hexdigest()
    assert world.promote() is Ended.ROLLED_BACK
    assert world.running == [OLD]
    assert world.fly["deployed"][-1] == f"registry.fly.io/demo@{OLD}"


def test_a_digest_that_fly_swapped_is_noticed_though_flyctl_exits_0(world: World) -> None:
    world.fly["deploys_digest"] = OTHER
    assert world.promote() is Ended.NEEDS_A_PERSON
    assert "THE ROLLBACK FAILED" in world.text
    assert OTHER in world.text


def test_failing_live_checks_bring_the_earlier_image_back(world: World) -> None:
    world.live = 1
    assert world.promote() is Ended.ROLLED_BACK
    assert world.running == [OLD]


def test_a_lease_held_by_another_leaves_everything_and_needs_no_rollback(world: World) -> None:
    world.fly["lease_held"] = True
    assert world.promote() is Ended.NOTHING_CHANGED
    assert world.running == [OLD]
    assert len(world.fly["deployed"]) == 1


def test_a_first_deploy_that_fails_says_that_there_is_nothing_to_go_back_to(world: World) -> None:
    world.fly["machines"] = []
    world.fly["sick_digest"] = "any"
    assert world.promote() is Ended.NEEDS_A_PERSON
    assert "There is nothing to go back to" in world.text


def test_a_failing_rollback_asks_for_a_person(world: World) -> None:
    world.fly["sick_digest"] = "any"
    assert world.promote() is Ended.NEEDS_A_PERSON


def test_machines_with_different_images_and_no_healthy_one_stop_it_before_the_push(world: World) -> None:
    first = world.fly["machines"][0]
    second = json.loads(json.dumps(first)) | {"id": "m2"}
    second["image_ref"]["digest"] = OTHER
    world.fly["machines"] = [first, second]
    assert world.promote() is Ended.NOTHING_CHANGED
    assert "pushed" not in world.docker


def test_over_a_bad_release_the_way_back_is_the_last_good_one(world: World) -> None:
    world.fly["machines"][0]["image_ref"]["digest"] = OTHER
    world.fly["machines"][0]["checks"][0]["status"] = "critical"
    world.fly["releases"] = [
        {"Version": 2, "Status": "failed", "ImageRef": f"registry.fly.io/demo@{OTHER}"},
        {"Version": 1, "Status": "complete", "ImageRef": f"registry.fly.io/demo@{OLD}"},
    ]
    world.live = 1
    assert world.promote() is Ended.ROLLED_BACK
    assert world.running == [OLD]
    assert "today's configuration" in world.text


def test_the_rollback_uses_the_configuration_that_ran_with_that_image(world: World) -> None:
    world.live = 1
    assert world.promote() is Ended.ROLLED_BACK
    assert world.fly["configs"] == ["fly.toml", f"fly-{'1' * 12}.toml"]
    kept = world.folder / "state" / f"fly-{'1' * 12}.toml"
    assert kept.read_text() == f"# as deployed: {OLD}\n"


def test_a_configuration_that_fly_does_not_give_is_replaced_by_todays_and_said(world: World) -> None:
    world.fly["no_config"], world.live = True, 1
    assert world.promote() is Ended.ROLLED_BACK
    assert world.fly["configs"] == ["fly.toml", "fly.toml"]
    assert "A rollback would use today's configuration" in world.text


def test_a_rollback_of_a_rollback_goes_to_the_same_good_image(world: World) -> None:
    world.live = 1
    for _ in range(2):
        assert world.promote() is Ended.ROLLED_BACK
        assert world.running == [OLD]


def test_what_is_promoted_is_the_way_back_of_the_next_one_with_its_own_configuration(world: World) -> None:
    assert world.promote() is Ended.PROMOTED
    first = world.running[0]
    world.docker["manifests"]["tag"] = MANIFEST.replace("[]", "[1]")
    world.live = 1
    assert world.promote() is Ended.ROLLED_BACK
    assert world.running == [first]
    assert world.fly["configs"][-1] == f"fly-{first.removeprefix('sha256:')[:12]}.toml"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_the_deploy_ends_the_child_and_changes_nothing(world: World, number: int) -> None:
    world.fly["hang"] = "auth docker"
    world.interrupt_when_it_hangs(number)
    assert world.promote() is Ended.NOTHING_CHANGED
    assert not world.hanging
    assert "nothing on Fly was replaced" in world.text
    assert not list((world.folder / "state").glob("flyctl-*"))


@pytest.mark.parametrize("replaced", [False, True])
def test_a_signal_during_the_deploy_asks_for_a_person_and_a_rerun_keeps_the_way_back(
    world: World, replaced: bool
) -> None:
    world.fly["hang_after" if replaced else "hang"] = "deploy" if replaced else "deploy --app"
    world.interrupt_when_it_hangs()
    assert world.promote() is Ended.NEEDS_A_PERSON
    assert not world.hanging
    assert f"--image registry.fly.io/demo@{OLD}" in world.text
    assert not list((world.folder / "state").glob("flyctl-*"))

    world.fly.pop("hang", None)
    world.fly.pop("hang_after", None)
    world.live = 1
    assert world.promote() is Ended.ROLLED_BACK
    assert "stopped at 'deploy'" in world.text
    assert world.running == [OLD]


@pytest.mark.parametrize("at", STEPS)
def test_killed_at_any_step_and_run_again_it_is_promoted(world: World, at: str) -> None:
    world.fly["hang"] = at
    world.interrupt_when_it_hangs()
    world.promote()
    assert world.running in ([OLD], [NEW])
    world.fly["hang"] = ""
    assert world.promote() is Ended.PROMOTED
    assert world.running == [NEW]


def test_two_promotions_at_once_are_one(world: World) -> None:
    with only_one(world.folder / "state"), pytest.raises(ConfigError, match="another promotion runs"):
        world.promote()
    assert world.running == [OLD]
    assert not (world.folder / "calls").exists()


@pytest.mark.parametrize(("part", "what"), [("fly", {"not_logged_in": True}), ("docker", {"registry_down": True})])
def test_without_a_login_or_a_registry_the_old_image_goes_on(world: World, part: str, what: dict[str, bool]) -> None:
    getattr(world, part).update(what)
    assert world.promote() is Ended.NOTHING_CHANGED
    assert world.running == [OLD]
    assert "deployed" not in world.fly


@pytest.mark.parametrize(("commit", "ended"), [("c0ffee", Ended.PROMOTED), ("decaf", Ended.ROLLED_BACK)])
def test_the_public_url_must_report_the_commit(world: World, commit: str, ended: Ended) -> None:
    with json_server({"commit": commit}) as url:
        world.changes = {"commit": "c0ffee", "version_url": f"{url}/api/status", "version_key": "commit"}
        assert world.promote() is ended


def test_a_public_url_that_does_not_answer_is_rolled_back(world: World) -> None:
    world.changes = {"commit": "c0ffee", "version_url": "http://127.0.0.1:9/x", "version_key": "commit"}
    assert world.promote() is Ended.ROLLED_BACK
    assert "does not answer" in world.text


def test_gpu_functions_of_another_version_are_deployed_before_the_app_and_equal_ones_left(world: World) -> None:
    world.changes = {"gpu": Gpu("video", world.folder / "gpu.py", "v7", str(world.folder))}
    assert world.promote() is Ended.PROMOTED
    order = verbs(world)
    assert order.index("checks -m modal", order.index("checks -m modal") + 1) < order.index("fly deploy --app")
    assert json.loads((world.folder / "modal.json").read_text())[0]["Tag"] == "v7"
    (world.folder / "calls").unlink()
    assert world.promote() is Ended.PROMOTED
    assert verbs(world).count("checks -m modal") == 1


def test_flyctls_folder_with_its_logs_is_private_and_gone_afterwards(world: World) -> None:
    world.promote()
    folders = world.fly_config_dirs()
    assert len(folders) == 1
    assert not Path(folders.pop()).exists()
