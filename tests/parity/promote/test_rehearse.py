"""A rehearsal: the whole of it against the stand-in's API, and what it says when a promotion ends otherwise."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest
from tests.parity.json_server import json_server
from tests.parity.promote.standin_world import World, standin_world

from parity.certs import ensure_certificates
from parity.config.errors import ConfigError
from parity.promote.commands import Promotion
from parity.promote.rehearse import Checked, Images, acts, rehearse, require_images, with_flyctl
from parity.promote.run import Ended
from parity.promote.shell import Shell

SOURCE = Path(__file__).parents[3] / "src"


def images_of(world: World) -> Images:
    """Images that differ; each reports the commit that is promoted."""

    def image(name: str, **more: object) -> Checked:
        digest = world.image("c0ffee", name=name, **more)
        return Checked(digest, digest)

    return Images(image("good"), image("next"), image("sick", health=500), image("odd"))


@pytest.mark.timeout(600)
def test_every_act_ends_as_it_must_against_the_stand_in(tmp_path: Path) -> None:
    certificates = ensure_certificates(tmp_path / "ca", tmp_path / "trust", ["localhost", "127.0.0.1"])
    with standin_world(tmp_path, certificates) as world:
        images = images_of(world)
        (tmp_path / "live").write_text("0")
        shell = Shell({**world.environ(), "FLY_CONFIG_DIR": str(tmp_path)}, world.said.append)

        def promote(one: Promotion) -> Ended:
            # Also the way back from the sick image has to get healthy in this time.
            wait_s = 20 if one.image == images.sick.name else 60
            world.changes = {"wait_timeout_s": wait_s, "commit": one.commit}
            said = list(world.said)
            ended = world.promote(one.image)
            world.said[:0] = said
            return ended

        assert rehearse(world.promotion(images.good.name), images, shell, promote), world.text
        assert world.text.count("== as it must be") == 5
        assert world.serving() == "c0ffee"


PROMOTION = Promotion("rehearsal", "demo", Path("fly.toml"), "demo", "sha256:" + "a" * 64, "t")
ALL = Images(*(Checked(name, f"sha256:{name[0] * 64}") for name in ("good", "next", "sick", "odd")))


def doubles(folder: Path, digest: str) -> dict[str, str]:
    """A fly and a docker that show one Machine, whose image has this config digest."""
    reference = {"registry": "r", "repository": "demo", "digest": f"sha256:{'1' * 64}"}
    machines = [{"id": "m1", "state": "started", "image_ref": reference}]
    for name, shown in (("fly", machines), ("docker", {"config": {"digest": digest}})):
        path = folder / name
        path.write_text(f"#!/bin/sh\necho '{json.dumps(shown)}'\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


@pytest.mark.parametrize(
    ("ended", "runs", "problem"),
    [
        (Ended.PROMOTED, "next", "ended as promoted, not as rolled back"),
        (Ended.ROLLED_BACK, "sick", "ended as rolled back, not as promoted"),
        (None, "sick", f"Machines run sha256:{'s' * 64}, not sha256:{'g' * 64}"),
    ],
)
def test_a_promotion_that_ends_otherwise_or_leaves_another_image_fails_the_rehearsal(
    tmp_path: Path, ended: Ended | None, runs: str, problem: str
) -> None:
    said: list[str] = []
    shell = Shell(doubles(tmp_path, f"sha256:{runs[0] * 64}"), said.append)
    due = iter(acts(ALL, reports_commit=False))
    assert not rehearse(PROMOTION, ALL, shell, lambda _: next(due).ended if ended is None else ended)
    assert problem in "\n".join(said)


def test_without_a_version_to_ask_for_the_act_of_a_wrong_commit_is_left_out() -> None:
    assert (len(acts(ALL, reports_commit=True)), len(acts(ALL, reports_commit=False))) == (5, 4)


def test_the_flyctl_of_path_is_used_and_else_the_double(tmp_path: Path) -> None:
    bare = {"PATH": "/nowhere", "FLY_API_TOKEN": "x"}
    environ, which = with_flyctl(bare, tmp_path / "bin", SOURCE)
    assert "double" in which
    done = subprocess.run(
        ["fly", "version"], env={**environ, "PATH": f"{environ['PATH']}:/bin"}, capture_output=True, check=True
    )
    assert b"double" in done.stdout
    own = doubles(tmp_path, "x")
    found, which = with_flyctl(own, tmp_path / "bin2", SOURCE)
    assert found == own
    assert which.startswith(f"{tmp_path}/fly: ")


@pytest.mark.parametrize(("digest", "problem"), [("", "runs processes"), (None, "no Fly stand-in answers")])
def test_a_rehearsal_needs_a_stack_that_runs_images(digest: str | None, problem: str) -> None:
    with json_server({"digest": digest}) as url, pytest.raises(ConfigError, match=problem):
        require_images(url if digest is not None else "http://127.0.0.1:9")
