from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from parity.promote.runner import Ended

if TYPE_CHECKING:
    from tests.parity.promote.conftest import World

OLD = "sha256:" + "1" * 64
OTHER = "sha256:" + "9" * 64


def verbs(world: World) -> list[str]:
    return [" ".join(argv[:3]) for argv in world.calls()]


def test_a_promotion_ends_with_every_machine_on_the_pushed_digest(world: World) -> None:
    assert world.promote() is Ended.PROMOTED
    pushed = "sha256:" + hashlib.sha256(world.docker["manifests"]["tag"].encode()).hexdigest()
    assert world.running == [pushed]
    assert world.fly["deployed"] == [f"registry.fly.io/demo@{pushed}"]


def test_the_steps_come_in_the_order_that_keeps_a_bad_image_out(world: World) -> None:
    world.promote()
    assert verbs(world) == [
        "fly config validate",
        "fly secrets list",
        "fly machine list",
        "fly auth docker",
        "docker image tag",
        "docker image push",
        "docker buildx imagetools",
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
    assert "CORS_ORIGINS, which the checks never saw" in world.text


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
    assert "no earlier image" in world.text


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


def test_flyctls_folder_with_its_logs_is_private_and_gone_afterwards(world: World) -> None:
    world.promote()
    folders = world.fly_config_dirs()
    assert len(folders) == 1
    assert not Path(folders.pop()).exists()
