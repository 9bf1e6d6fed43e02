"""The session cache of fly.toml and the path cache of ``fly-replay-cache``, by themselves and through the edge."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from tests.parity.fly.support import FLY_TOML, Edge, StartEdge, until

from parity.config.errors import ConfigError
from parity.config.fly_tables import ReplayCacheRule
from parity.config.fly_toml import load_fly_config
from parity.fly.edge.headers import Headers, Origin
from parity.fly.edge.replay import CacheOrder, Replay
from parity.fly.edge.replay_cache import CAPACITY, ReplayCache
from parity.fly.edge.request import Body, Request

TARGET = Replay(instance="m2")


def request(target: bytes = b"/api/x", *headers: tuple[bytes, bytes], host: bytes = b"tiny.fly.dev") -> Request:
    all_headers: Headers = [(b"host", host), *headers]
    return Request(b"GET", target, all_headers, Body.NONE, Origin(b"192.0.2.1", b"https", 443, b"1.1"))


def rule(path: str = "/", kind: str = "header", name: str = "X-Profile", ttl: int = 30) -> ReplayCacheRule:
    return ReplayCacheRule.model_validate({"path_prefix": path, "type": kind, "name": name, "ttl_seconds": ttl})


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def cache(*rules: ReplayCacheRule) -> tuple[ReplayCache, Clock]:
    clock = Clock()
    return ReplayCache(rules, clock), clock


P1, P2 = (b"x-profile", b"p1"), (b"X-Profile", b"p2")


def test_a_session_is_found_by_its_header_until_the_ttl_ends() -> None:
    found, clock = cache(rule())
    assert found.store(request(b"/a", P1), TARGET, "m1") == "stored by session"
    assert found.find(request(b"/b?q=1", P1)) is not None
    assert found.find(request(b"/a", P2)) is None
    assert found.find(request(b"/a")) is None
    clock.now += 30
    assert found.find(request(b"/a", P1)) is None


def test_a_session_is_found_by_its_cookie() -> None:
    found, _ = cache(rule(kind="cookie", name="sid"))
    found.store(request(b"/", (b"cookie", b"a=1; sid=s1")), TARGET, "m1")
    assert found.find(request(b"/", (b"cookie", b"sid=s1; a=2"))) is not None
    assert found.find(request(b"/", (b"cookie", b"sid=s2"))) is None
    assert found.find(request(b"/", (b"cookie", b"SID=s1"))) is None
    assert found.find(request(b"/", (b"cookie", b'odd={"a": [1]}; b@d=1; sid="s1"'))) is not None


def test_hosts_do_not_share_a_cache() -> None:
    found, _ = cache(rule())
    found.store(request(b"/", P1), TARGET, "m1")
    assert found.find(request(b"/", P1, host=b"Tiny.fly.dev:443")) is not None
    assert found.find(request(b"/", P1, host=b"other.example")) is None


def test_a_rule_with_a_host_serves_only_that_host() -> None:
    found, _ = cache(rule("api.example.com/v1"))
    assert found.store(request(b"/v1/a", P1), TARGET, "m1") == ""
    assert found.store(request(b"/v1/a", P1, host=b"api.example.com"), TARGET, "m1") == "stored by session"


@pytest.mark.parametrize("prefix", ["/api", "/api/", "/api/*"])
def test_a_prefix_covers_whole_segments(prefix: str) -> None:
    found, _ = cache(rule(prefix))
    assert found.store(request(b"/api", P1), TARGET, "m1") == "stored by session"
    assert found.find(request(b"/api/x/y", P1)) is not None
    assert found.find(request(b"/apix", P1)) is None


def test_the_longest_matching_path_decides_even_when_its_header_is_missing() -> None:
    found, _ = cache(rule("/", name="x-profile"), rule("/api", name="authorization"))
    token = (b"authorization", b"t")
    assert found.store(request(b"/api/x", P1), TARGET, "m1") == ""
    assert found.store(request(b"/api/x", P1, token), TARGET, "m1") == "stored by session"
    assert found.find(request(b"/api/y", token)) is not None
    assert found.find(request(b"/", P1, token)) is None


@pytest.mark.parametrize(
    "replay", [Replay(instance="m2", state="s"), Replay(instance="m2", timeout_s=1), Replay(fallback="force_self")]
)
def test_a_replay_with_state_timeout_or_fallback_is_not_cached(replay: Replay) -> None:
    found, _ = cache(rule())
    assert found.store(request(b"/", P1), replay, "m1").startswith("not stored")
    assert found.find(request(b"/", P1)) is None


def test_a_path_is_cached_with_all_below_it_for_at_least_ten_seconds() -> None:
    found, clock = cache()
    order = Replay(instance="m2", cache=CacheOrder("/a/b/*", 10))
    assert found.store(request(b"/a/b/c"), order, "m1") == "stored by path"
    assert found.find(request(b"/a/b")) is not None
    assert found.find(request(b"/a/bc")) is None
    clock.now += 10
    assert found.find(request(b"/a/b")) is None
    short = Replay(instance="m2", cache=CacheOrder("/a", 9))
    assert found.store(request(b"/a"), short, "m1").startswith("not stored")
    elsewhere = Replay(instance="m2", cache=CacheOrder("/z", 60))
    assert found.store(request(b"/a"), elsewhere, "m1").startswith("not stored")


def test_invalidation_forgets_path_and_session() -> None:
    found, _ = cache(rule())
    found.store(request(b"/a", P1), TARGET, "m1")
    found.store(request(b"/a", P1), Replay(instance="m3", cache=CacheOrder("/a", 60)), "m1")
    found.invalidate(request(b"/a/x", P1))
    assert found.find(request(b"/a/x", P1)) is None


def test_the_number_of_entries_is_bounded() -> None:
    found, _ = cache(rule())
    for number in range(CAPACITY + 1):
        found.store(request(b"/", (b"x-profile", b"%d" % number)), TARGET, "m1")
    assert found.find(request(b"/", (b"x-profile", b"0"))) is None
    assert found.find(request(b"/", (b"x-profile", b"%d" % CAPACITY))) is not None


@pytest.mark.parametrize(
    "lines",
    [
        'type = "header"\nname = "x"\nttl_seconds = 9',
        'type = "query"\nname = "x"\nttl_seconds = 30',
        'type = "header"\nname = ""\nttl_seconds = 30',
        'type = "header"\nname = "x"\nttl_seconds = 30\npath_prefix = "https://a.example/x"',
    ],
)
def test_a_wrong_rule_is_refused(tmp_path: Path, lines: str) -> None:
    path = tmp_path / "fly.toml"
    text = FLY_TOML.format(soft=1, hard=2, memory=256, autostop="off", checks="", force_https="true")
    path.write_text(f"{text}\n[[http_service.http_options.replay_cache]]\n{lines}\n")
    with pytest.raises(ConfigError, match="replay_cache"):
        load_fly_config(path)


RULE = """
[[http_service.http_options.replay_cache]]
path_prefix = "/"
ttl_seconds = 60
type = "header"
name = "X-Profile"
"""


class Pair:
    """An edge with two Machines; the first one hands requests to the second one."""

    def __init__(self, edge: Edge, first: str, second: str) -> None:
        self.edge, self.first, self.second = edge, first, second

    async def send(self, orders: Mapping[str, Sequence[object]], path: str = "/hand", **headers: str) -> dict[str, str]:
        """The headers that the answering Machine saw, its id under ``machine``."""
        sent = {"x-hand": json.dumps(orders), **{name.replace("_", "-"): value for name, value in headers.items()}}
        async with self.edge.client() as client:
            answer = (await client.get(path, headers=sent)).json()
        return {**dict(answer["headers"]), "machine": answer["machine"]}

    async def handed(self, machine: str) -> int:
        """How many requests a Machine answered with a replay."""
        async with self.edge.client() as client:
            return int((await client.get("/seen", headers={"fly-force-instance-id": machine})).text)

    @property
    def note(self) -> str:
        return self.edge.standin.context.log.entries()[-1].replay_cache


@pytest.fixture
async def pair(start_edge: StartEdge, request: pytest.FixtureRequest) -> Pair:
    edge = await start_edge(toml=getattr(request, "param", RULE))
    first = edge.machine.id
    second = (await edge.standin.fleet.create()).id
    await until(lambda: edge.standin.fleet.get(second).healthy, "both healthy")
    edge.standin.fleet.get(second).requests += 1  # so that requests without a wish go to the first one
    return Pair(edge, first, second)


async def test_a_cached_session_goes_to_its_machine_without_asking_the_app(pair: Pair) -> None:
    order = {pair.first: [{"fly-replay": f"prefer_instance={pair.second}"}, ""]}
    seen = await pair.send(order, x_profile="p")
    assert (seen["machine"], seen["fly-replay-cache-status"]) == (pair.second, "miss")
    assert seen["fly-replay-src"].startswith(f"instance={pair.first};")
    assert pair.note == "stored by session"
    for _ in range(3):
        seen = await pair.send(order, x_profile="p")
        assert (seen["machine"], seen["fly-replay-cache-status"]) == (pair.second, "hit")
        assert "fly-replay-src" not in seen
    assert pair.note == "hit"
    assert await pair.handed(pair.first) == 1
    seen = await pair.send({}, x_profile="other")
    assert seen["machine"] == pair.first
    assert "fly-replay-cache-status" not in seen


async def test_the_wrong_target_invalidates_the_cache(pair: Pair) -> None:
    await pair.send({pair.first: [{"fly-replay": f"instance={pair.second}"}, ""]}, x_profile="p")
    back = {pair.second: [{"fly-replay": f"instance={pair.first}", "fly-replay-cache": "invalidate"}, ""]}
    seen = await pair.send(back, x_profile="p")
    assert (seen["machine"], seen["fly-replay-cache-status"]) == (pair.first, "miss")
    seen = await pair.send({}, x_profile="p")
    assert seen["machine"] == pair.first
    assert "fly-replay-cache-status" not in seen


async def test_a_replay_back_without_invalidation_leaves_the_cache_as_it_is(pair: Pair) -> None:
    await pair.send({pair.first: [{"fly-replay": f"instance={pair.second}"}, ""]}, x_profile="p")
    back = {pair.second: [{"fly-replay": f"instance={pair.first}"}, ""]}
    assert (await pair.send(back, x_profile="p"))["machine"] == pair.first
    assert (await pair.send({}, x_profile="p"))["machine"] == pair.second


async def test_a_cached_preferred_machine_that_is_gone_is_named(pair: Pair) -> None:
    order = {pair.first: [{"fly-replay": f"prefer_instance={pair.second}"}, ""]}
    await pair.send(order, x_profile="p")
    await pair.edge.standin.fleet.destroy(pair.second)
    seen = await pair.send({}, x_profile="p")
    assert (seen["machine"], seen["fly-preferred-instance-unavailable"]) == (pair.first, pair.second)


async def test_a_cached_machine_that_is_gone_is_forgotten_and_the_app_is_asked(pair: Pair) -> None:
    await pair.send({pair.first: [{"fly-replay": f"instance={pair.second}"}, ""]}, x_profile="p")
    await pair.edge.standin.fleet.destroy(pair.second)
    seen = await pair.send({}, x_profile="p")
    assert seen["machine"] == pair.first
    assert "fly-replay-cache-status" not in seen


@pytest.mark.parametrize("pair", [RULE, RULE + "allow_bypass = true\n"], indirect=True)
async def test_a_client_skips_the_cache_only_where_the_rule_allows_it(
    pair: Pair, request: pytest.FixtureRequest
) -> None:
    allowed = "allow_bypass" in request.node.callspec.params["pair"]
    order = {pair.first: [{"fly-replay": f"instance={pair.second}"}, ""]}
    await pair.send(order, x_profile="p")
    seen = await pair.send(order, x_profile="p", fly_replay_cache_control="skip")
    assert seen["fly-replay-cache-status"] == ("bypass" if allowed else "hit")
    assert await pair.handed(pair.first) == (2 if allowed else 1)
    assert (await pair.send(order, x_profile="p"))["fly-replay-cache-status"] == "hit"


async def test_the_path_cache_follows_its_headers(pair: Pair) -> None:
    order: dict[str, Sequence[object]] = {
        pair.first: [
            {
                "fly-replay": f"instance={pair.second}",
                "fly-replay-cache": "/api/*",
                "fly-replay-cache-ttl-secs": "60",
            },
            "",
        ]
    }
    assert (await pair.send(order, path="/api/hand"))["fly-replay-cache-status"] == "miss"
    seen = await pair.send({}, path="/api/hand")
    assert (seen["machine"], seen["fly-replay-cache-status"]) == (pair.second, "hit")
    assert (await pair.send({}))["machine"] == pair.first


async def test_the_client_sees_nothing_of_the_cache_headers(pair: Pair) -> None:
    headers = {"x-hand": json.dumps({pair.first: [{"fly-replay-cache": "/x/*", "x-mine": "1"}, "plain"]})}
    async with pair.edge.client() as client:
        answer = await client.get("/hand", headers=headers)
    assert answer.headers["x-mine"] == "1"
    assert "fly-replay-cache" not in answer.headers
