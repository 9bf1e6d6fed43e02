"""What a check stored is gone after it, whatever its end; nothing else is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.parity.r2.conftest import BUCKET, OBJECT_TOKEN, SETTINGS, run_stand_in

from parity.certs import ensure_certificates
from parity.checks.kit.bucket import Bucket
from parity.checks.kit.tools import Tools
from parity.checks.model import Broken, Check, Env, ProductFault, Unobservable
from parity.checks.runner import Facilities, Suite
from parity.config.project import R2Access
from parity.report.results import Outcome, Result
from parity.stack.target import Target

LOCAL = Target("local", "https://localhost:1", "", "https://app.example", "", "", None, None, "process")


def project(tmp_path: Path, secret: str = OBJECT_TOKEN.secret) -> Any:
    r2 = R2Access("https://r2.invalid", BUCKET, OBJECT_TOKEN.access_key, secret)
    return SimpleNamespace(r2=r2, bucket=BUCKET, settings=SimpleNamespace(state_dir=tmp_path))


def check(observe: Any) -> Check[Any]:
    return Check("sample", "A sample", "A", observe, lambda seen: seen, Broken("x", Env({})))


async def fail(tools: Tools) -> None:
    await store(tools)
    raise ProductFault("wrong")


async def store(tools: Tools) -> list[str]:
    for prefix in ("staging", "dev"):
        await tools.bucket.put(f"{prefix}/users/{tools.user}/profiles.json", b"{}")
    return []


@pytest.mark.parametrize(("observe", "outcome"), [(store, Outcome.PASSED), (fail, Outcome.FAILED)])
async def test_every_object_of_a_checks_user_is_removed_and_no_other(
    tmp_path: Path, observe: Any, outcome: Outcome
) -> None:
    certificates = ensure_certificates(tmp_path / "ca", tmp_path / "trust", ["localhost", "127.0.0.1"])
    with run_stand_in(SETTINGS, certificates) as r2:
        r2.client().put_object(Bucket=BUCKET, Key="staging/users/somebody/profiles.json", Body=b"{}")
        target = replace(LOCAL, r2_url=r2.url, admin_url=r2.admin_url, ca=r2.ca)
        said: list[Result] = []
        suite = Suite(project(tmp_path), target, Facilities(None, None, False), [], said.append)
        await suite.run([check(observe)], prove=False, tools={})
        left = [entry["Key"] for entry in r2.client().list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert [result.outcome for result in said] == [outcome]
    assert left == ["staging/users/somebody/profiles.json"]


async def test_a_check_that_could_not_tidy_up_has_not_passed(tmp_path: Path) -> None:
    async def nothing(_tools: Tools) -> list[str]:
        return []

    target = replace(LOCAL, admin_url="http://127.0.0.1:1")
    said: list[Result] = []
    suite = Suite(project(tmp_path), target, Facilities(None, None, False), [], said.append)
    await suite.run([check(nothing)], prove=False, tools={})
    assert said[0].outcome is Outcome.ERROR
    assert "could not be removed" in said[0].reasons[0]


async def test_a_bucket_that_refuses_is_no_fault_of_the_product(tmp_path: Path) -> None:
    with run_stand_in(SETTINGS, None) as r2:
        bucket = Bucket(project(tmp_path, "wrong"), cast(Any, replace(LOCAL, r2_url=r2.url)))
        with pytest.raises(Unobservable, match="SignatureDoesNotMatch"):
            await bucket.put("k", b"x")
