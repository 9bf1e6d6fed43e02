"""The status page: it shows the app and environment of fly.toml, and that R2 and Modal are reachable."""

from __future__ import annotations

from parity.checks import Env, check
from parity.checks.generic.support import PATIENCE_S, until
from parity.checks.stack import Stack


@check(
    "J",
    "The status page shows this app and environment, and that R2 and Modal are reachable",
    broken=Env({"R2_ENDPOINT": "http://localhost:9"}),
    because="r2: enabled True, reachable False",
    live=True,
    fast=True,
)
async def test_status_tells_what_runs(stack: Stack) -> None:
    """Compare the app's variables and secrets with fly.toml, and its addresses of R2 and Modal with parity.toml."""
    fly = stack.site.project.fly

    async def differences() -> list[str]:
        answer = await stack.http.get("/api/status")
        assert answer.status_code == 200, f"/api/status answers {answer.status_code}"
        body, wrong = answer.json(), []
        for name, expected in (("app_env", fly.env.get("APP_ENV", "")), ("app", fly.app)):
            if body.get(name) != expected:
                wrong.append(f"{name} is {body.get(name)!r}, fly.toml says {expected!r}")
        for service in ("r2", "modal"):
            state = body.get(service) or {}
            if state.get("enabled") is not True or state.get("reachable") is not True:
                wrong.append(f"{service}: enabled {state.get('enabled')}, reachable {state.get('reachable')}")
        return wrong

    # The app's own look at R2 and Modal has a deadline, which a busy machine may miss once.
    wrong = await until(differences, lambda found: not found, PATIENCE_S)
    assert not wrong, "\n".join(wrong)
