"""app.profiles: the registry is never lost to an error, a race, or a prefix that is too short."""

import asyncio
import json
from collections.abc import Callable

import httpx
import pytest
from tests.backend.fakes import FakeStore, Fault

from app.context import UserContext
from app.main import create_app
from app.problems import ProblemError
from app.profiles.model import Entry, Registry, RegistryError, decode, encode
from app.profiles.registry import Profiles
from app.replication.layout import EMPTIED, transaction
from app.settings import Settings
from app.storage.interface import PreconditionFailed, StorageUnavailable
from app.storage.keys import Keys

USER = {"X-User-ID": "alice"}
REGISTRY = "staging/users/alice/profiles.json"


async def create(client: httpx.AsyncClient, profile_id: str, user: str = "alice") -> httpx.Response:
    return await client.post(
        "/api/profiles", json={"name": profile_id.title(), "id": profile_id}, headers={"X-User-ID": user}
    )


def contents(store: FakeStore) -> list[str]:
    """Keys of what holds anything: a deleted profile leaves the emptied names of its transactions."""
    return sorted(key for key, (data, _, _) in store.objects.items() if data != EMPTIED)


async def test_a_profile_can_be_created_read_renamed_selected_and_deleted(client: httpx.AsyncClient) -> None:
    assert (await create(client, "one")).headers["location"] == "/api/profiles/one"
    await create(client, "two")
    assert (await client.patch("/api/profiles/two", json={"name": "Zwei"}, headers=USER)).json()["name"] == "Zwei"
    assert (await client.post("/api/profiles/two/select", headers=USER)).json()["selected"] is True
    listed = (await client.get("/api/profiles", headers=USER)).json()
    assert [(item["id"], item["selected"]) for item in listed["profiles"]] == [("one", False), ("two", True)]
    assert (await client.delete("/api/profiles/two", headers=USER)).status_code == 204
    listed = (await client.get("/api/profiles", headers=USER)).json()
    assert [(item["id"], item["selected"]) for item in listed["profiles"]] == [("one", True)]
    assert (await client.get("/api/profiles/two", headers=USER)).status_code == 410


async def test_an_id_that_is_taken_is_a_conflict_and_changes_nothing(
    client: httpx.AsyncClient, store: FakeStore
) -> None:
    await create(client, "one")
    before = store.objects[REGISTRY]
    assert (await create(client, "one")).status_code == 409
    assert store.objects[REGISTRY] == before


async def test_an_unknown_profile_is_404_and_creates_nothing(client: httpx.AsyncClient, store: FakeStore) -> None:
    answer = await client.patch("/api/settings", headers={**USER, "X-Profile-ID": "none"}, json={"theme": "dark"})
    assert answer.status_code == 404
    assert answer.json()["type"] == "/problems/unknown-profile"
    assert store.keys() == []


async def test_deleting_takes_the_objects_below_the_profile_and_no_others(
    client: httpx.AsyncClient, store: FakeStore
) -> None:
    await create(client, "one")
    await create(client, "one1")
    await create(client, "one", user="bob")
    kept = [
        f"staging/users/alice/profiles/one1/database/{transaction(1).name}",
        f"staging/users/bob/profiles/one/database/{transaction(1).name}",
        "staging/users/alice/profiles/one1/exports/e.mp4",
        "staging/users/bob/profiles/one/exports/e.mp4",
        "production/users/alice/profiles/one/exports/e.mp4",
        "staging/users/alice/profiles.json",
        "staging/users/bob/profiles.json",
    ]
    for key in [*kept[2:5], "staging/users/alice/profiles/one/exports/e.mp4"]:
        store.objects[key] = (b"x", '"e"', "video/mp4")
    assert (await client.delete("/api/profiles/one", headers=USER)).status_code == 204
    assert contents(store) == sorted(kept)


async def test_a_deletion_that_was_interrupted_hides_the_profile_and_can_be_finished(
    client: httpx.AsyncClient, headers: dict[str, str], store: FakeStore
) -> None:
    await client.patch("/api/settings", headers=headers, json={"theme": "dark"})
    store.faults.append(Fault("delete_many", StorageUnavailable("down"), times=1))
    assert (await client.delete("/api/profiles/main", headers=headers)).status_code == 503
    assert (await client.get("/api/settings", headers=headers)).status_code == 410
    assert (await client.delete("/api/profiles/main", headers=headers)).status_code == 204
    assert contents(store) == [REGISTRY]


async def test_leftovers_of_a_deleted_profile_do_not_bring_it_back(
    client: httpx.AsyncClient, headers: dict[str, str], store: FakeStore
) -> None:
    await client.delete("/api/profiles/main", headers=headers)
    store.objects["staging/users/alice/profiles/main/exports/late.mp4"] = (b"x", '"e"', "video/mp4")
    assert (await client.get("/api/settings", headers=headers)).status_code == 410
    assert (await client.get("/api/profiles", headers=headers)).json()["profiles"] == []


async def test_a_deleted_id_is_gone_for_ever_for_every_operation(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    await client.delete("/api/profiles/main", headers=headers)
    answers = [
        await create(client, "main"),
        await client.get("/api/profiles/main", headers=headers),
        await client.patch("/api/profiles/main", headers=headers, json={"name": "x"}),
        await client.post("/api/profiles/main/select", headers=headers),
        await client.delete("/api/profiles/main", headers=headers),
        await client.get("/api/settings", headers=headers),
        await client.patch("/api/settings", headers=headers, json={"theme": "dark"}),
    ]
    assert [(answer.status_code, answer.json()["type"]) for answer in answers] == [(410, "/problems/gone")] * 7


async def test_a_creation_that_was_interrupted_leaves_no_profile_and_can_be_repeated(
    client: httpx.AsyncClient, store: FakeStore
) -> None:
    store.faults.append(Fault("put", StorageUnavailable("down"), key="profiles.json", times=1))
    assert (await create(client, "one")).status_code == 503
    assert len(store.keys()) == 1
    assert (await client.get("/api/settings", headers={**USER, "X-Profile-ID": "one"})).status_code == 404
    assert (await client.get("/api/profiles", headers=USER)).json()["profiles"] == []
    assert (await create(client, "one")).status_code == 201


async def test_a_profile_whose_own_entry_was_stored_by_a_try_without_an_answer_is_created(store: FakeStore) -> None:
    """The answer to the PUT of the registry is lost, and another Machine changes the registry before the next try."""
    here, there = (Profiles(store, Keys("staging"), 30.0, 86400.0) for _ in range(2))
    await there.create("alice", "x", "other")
    honest = store.put_bytes

    async def lost(key: str, data: bytes, **conditions: object) -> str:
        await honest(key, data, **conditions)  # type: ignore[arg-type]
        if not key.endswith("profiles.json"):
            return '"e"'
        store.put_bytes = honest  # type: ignore[method-assign]
        await there.rename("alice", "other", "y")
        raise PreconditionFailed(key)

    store.put_bytes = lost  # type: ignore[method-assign]
    entry, registry = await here.create("alice", "x", "main")
    assert registry.find("main") == entry


@pytest.mark.parametrize("profile_id", ["main", None])
async def test_an_empty_log_of_a_profile_that_was_begun_is_damage(
    client: httpx.AsyncClient, store: FakeStore, profile_id: str | None
) -> None:
    made = (await client.post("/api/profiles", headers=USER, json={"name": "x", "id": profile_id})).json()["id"]
    for key in [key for key in store.objects if f"/profiles/{made}/" in key]:
        del store.objects[key]
    for method, body in (("GET", None), ("PATCH", {"theme": "dark"})):
        answer = await client.request(method, "/api/settings", headers={**USER, "X-Profile-ID": made}, json=body)
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/sync-damaged")
        assert f"staging/users/alice/profiles/{made}/database" in answer.json()["detail"]
    assert store.keys() == [REGISTRY]


async def test_an_older_profile_is_known_as_begun_once_its_log_has_files(
    store: FakeStore, make_settings: Callable[..., Settings]
) -> None:
    store.objects[REGISTRY] = (encode(Registry((Entry("main", "x", "", ""),))), '"e"', "")
    context = UserContext("alice", "main")
    profiles = Profiles(store, Keys("staging"), 0.0, 86400.0)
    assert await profiles.exists(context)
    assert not await profiles.was_begun(context)
    store.objects["staging/users/alice/profiles/main/database/0000/x"] = (b"x", '"e"', "")
    assert await profiles.exists(context)
    assert await profiles.was_begun(context)


def test_an_earlier_release_can_read_a_registry_of_this_one() -> None:
    """It makes each entry from all fields that are there, and refuses one that it does not know."""
    document = json.loads(encode(Registry((Entry("main", "x", "", ""),)).with_begun("main")))
    assert [set(item) for item in document["profiles"]] == [{"id", "name", "created_at", "updated_at", "state"}]


async def test_a_machine_that_has_not_heard_of_a_deletion_acknowledges_no_write(
    client: httpx.AsyncClient,
    headers: dict[str, str],
    store: FakeStore,
    make_settings: Callable[..., Settings],
) -> None:
    other = create_app(make_settings(), store)
    async with (
        other.router.lifespan_context(other),
        httpx.AsyncClient(transport=httpx.ASGITransport(other), base_url="https://api.test", headers=headers) as there,
    ):
        assert (await there.patch("/api/settings", json={"theme": "dark"})).status_code == 200
        assert (await client.delete("/api/profiles/main", headers=USER)).status_code == 204
        for _ in range(2):
            # It remembers for half a minute that the profile exists, and learns of the deletion from the log.
            assert (await there.patch("/api/settings", json={"theme": "light"})).status_code in (410, 503)
        assert (await there.patch("/api/settings", json={"theme": "light"})).status_code == 410
        assert (await there.get("/api/settings")).status_code == 410
        assert contents(store) == [REGISTRY]


async def test_data_without_a_registry_entry_is_adopted(client: httpx.AsyncClient, store: FakeStore) -> None:
    store.objects["staging/users/alice/profiles/older/games/g/source.mp4"] = (b"x", '"e"', "video/mp4")
    assert (await client.get("/api/settings", headers={**USER, "X-Profile-ID": "older"})).status_code == 200
    listed = (await client.get("/api/profiles", headers=USER)).json()
    assert [item["id"] for item in listed["profiles"]] == ["older"]


async def test_older_profiles_are_listed_before_any_was_used(client: httpx.AsyncClient, store: FakeStore) -> None:
    for name in ("older", "oldest"):
        store.objects[f"staging/users/alice/profiles/{name}/database/0000/x.ltx"] = (b"x", '"e"', "")
    listed = (await client.get("/api/profiles", headers=USER)).json()
    assert [item["id"] for item in listed["profiles"]] == ["older", "oldest"]


@pytest.mark.parametrize("operation", ["get", "put"])
async def test_a_registry_that_cannot_be_asked_is_an_error_and_stays(
    client: httpx.AsyncClient, store: FakeStore, operation: str
) -> None:
    await create(client, "one")
    before = store.objects[REGISTRY]
    store.faults.append(Fault(operation, StorageUnavailable("down"), key="profiles.json"))
    assert (await create(client, "two")).status_code == 503
    assert store.objects[REGISTRY] == before


async def test_a_registry_that_cannot_be_read_is_an_error_and_stays(
    client: httpx.AsyncClient, store: FakeStore
) -> None:
    store.objects[REGISTRY] = (b"{}", '"e"', "")
    assert (await create(client, "one")).status_code == 503
    assert store.objects[REGISTRY] == (b"{}", '"e"', "")


async def test_profiles_made_at_once_on_two_machines_are_all_kept(store: FakeStore) -> None:
    machines = [Profiles(store, Keys("staging"), 30.0, 86400.0) for _ in range(2)]
    await asyncio.gather(*(machines[number % 2].create("alice", "x", f"p{number}") for number in range(6)))
    assert {entry.id for entry in decode(store.objects[REGISTRY][0]).active()} == {f"p{number}" for number in range(6)}


async def test_a_known_profile_costs_no_registry_read(
    client: httpx.AsyncClient, headers: dict[str, str], store: FakeStore
) -> None:
    await client.get("/api/settings", headers=headers)
    before = store.count("get", "profiles.json")
    for _ in range(5):
        await client.get("/api/settings", headers=headers)
    assert store.count("get", "profiles.json") == before


async def test_a_profile_deleted_elsewhere_is_noticed_when_the_memory_of_it_ends(
    store: FakeStore, make_settings: Callable[..., Settings]
) -> None:
    here, elsewhere = Profiles(store, Keys("staging"), 0.0, 86400.0), Profiles(store, Keys("staging"), 0.0, 86400.0)
    context = UserContext("alice", "main")
    await here.create("alice", "x", "main")
    assert await here.exists(context)
    await elsewhere.delete(context)
    with pytest.raises(ProblemError, match="deleted"):
        await here.exists(context)


@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": 5}, {"name": "x", "id": "../x"}, {"name": "x", "y": 1}, {"name": "x" * 101}, []],
)
async def test_a_wrong_body_is_refused_and_stores_nothing(
    client: httpx.AsyncClient, store: FakeStore, body: object
) -> None:
    answer = await client.post("/api/profiles", json=body, headers=USER)
    assert answer.status_code == 422
    assert answer.json()["errors"]
    assert store.keys() == []


def test_a_registry_survives_being_written() -> None:
    registry = Registry().with_entry(Entry("a", "Ä", "t", "t")).with_entry(Entry("b", "B", "t", "t"))
    assert decode(encode(registry)) == registry
    assert registry.selected == "a"


@pytest.mark.parametrize("data", [b"", b"[]", b'{"format": 2, "profiles": [], "selected": null}', b"null"])
def test_what_is_no_registry_is_not_an_empty_one(data: bytes) -> None:
    with pytest.raises(RegistryError):
        decode(data)
