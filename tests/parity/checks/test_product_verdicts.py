from __future__ import annotations

from dataclasses import replace

import pytest

from parity.checks import browser_cors
from parity.checks.browser_cors import BrowserObservation, Seen
from parity.checks.product import bad_input, durability
from parity.checks.product.bad_input import Bad, BadInputObservation, Refused
from parity.checks.product.durability import OutageObservation, Refusal, SurvivalObservation

PREFIX = "staging/users/u/"
SURVIVED = SurvivalObservation(
    written={"overlay_text": "kept"},
    sync_status="synced",
    keys=[f"{PREFIX}profiles.json", f"{PREFIX}profiles/p/database.sqlite"],
    prefix=PREFIX,
    new_machine=True,
    profile_shown=True,
    shown={"overlay_text": "kept", "theme": "dark"},
)


def test_a_write_that_a_new_machine_shows_is_fine() -> None:
    assert durability.judge_survival(SURVIVED) == []


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (replace(SURVIVED, shown={"overlay_text": ""}), "written was 'kept'"),
        (replace(SURVIVED, keys=[f"{PREFIX}profiles.json"]), "holds no database"),
        (replace(SURVIVED, keys=[f"{PREFIX}profiles/p/database.sqlite"]), "profiles.json"),
        (replace(SURVIVED, sync_status="pending"), "pending"),
        (replace(SURVIVED, sync_status=""), "absent"),
        (replace(SURVIVED, new_machine=False), "not replaced"),
        (replace(SURVIVED, profile_shown=False), "does not know the profile"),
        (replace(SURVIVED, written={}), "refused"),
    ],
)
def test_a_write_that_did_not_survive_is_caught(seen: SurvivalObservation, word: str) -> None:
    assert any(word in reason for reason in durability.judge_survival(seen))


OUTAGE = OutageObservation(
    during=[Refusal("list of profiles", 503, "", "5", True, ""), Refusal("read", 503, "failed", "5", True, "")],
    health=200,
    etags_before={"k": "1"},
    etags_after={"k": "1"},
    written="before",
    shown="before",
)


def with_read(**change: object) -> OutageObservation:
    return replace(OUTAGE, during=[replace(OUTAGE.during[1], **change)])  # type: ignore[arg-type]  # one field each


def test_an_outage_that_is_told_and_undone_is_fine() -> None:
    assert durability.judge_outage(OUTAGE) == []


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (with_read(status=200, body="[]"), "200 '[]'"),
        (with_read(status=404), "404"),
        (with_read(sync_status="synced"), "X-Sync-Status synced"),
        (with_read(retry_after=""), "no Retry-After"),
        (with_read(readable=False), "CORS"),
        (replace(OUTAGE, etags_after={"k": "2"}), "objects changed over the outage: k"),
        (replace(OUTAGE, etags_after={}), "objects changed"),
        (replace(OUTAGE, shown=""), "shows ''"),
        (replace(OUTAGE, health=503), "take the Machine out"),
    ],
)
def test_an_outage_taken_for_emptiness_is_caught(seen: OutageObservation, word: str) -> None:
    assert any(word in reason for reason in durability.judge_outage(seen))


BAD = Bad("unknown field", "POST", "/api/profiles", (422,))
REFUSED = BadInputObservation(
    answers=[Refused(BAD, 422, {"detail": "role: unknown"})],
    before={"k": "1"},
    after={"k": "1"},
    settings_before={"theme": "light"},
    settings_after={"theme": "light"},
    healthy=True,
)


def test_refusals_that_say_why_and_change_nothing_are_fine() -> None:
    assert bad_input.judge(REFUSED) == []


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (replace(REFUSED, answers=[Refused(BAD, 201, {})]), "201, 422 expected"),
        (replace(REFUSED, answers=[Refused(BAD, 500, {"detail": "x"})]), "500"),
        (replace(REFUSED, answers=[Refused(BAD, 422, {})]), "without a problem body"),
        (replace(REFUSED, after={"k": "1", "new": "2"}), "new appeared"),
        (replace(REFUSED, after={}), "k is gone"),
        (replace(REFUSED, after={"k": "2"}), "k changed"),
        (replace(REFUSED, settings_after={"theme": "dark"}), "settings were"),
        (replace(REFUSED, healthy=False), "not healthy"),
    ],
)
def test_bad_input_that_left_something_is_caught(seen: BadInputObservation, word: str) -> None:
    assert any(word in reason for reason in bad_input.judge(seen))


BROWSED = BrowserObservation(
    "https://app.example",
    "https://api.example",
    [Seen("404", 404, 404, "", "application/problem+json")],
    Seen("stranger", 0, None, "TypeError: Failed to fetch"),
)


def test_answers_that_only_the_frontend_can_read_are_fine() -> None:
    assert browser_cors.judge(BROWSED) == []


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (replace(BROWSED, seen=[Seen("404", 404, None, "TypeError: Failed to fetch")]), "Failed to fetch"),
        (replace(BROWSED, seen=[Seen("404", 404, 200, "", "text/html")]), "200, 404 expected"),
        (replace(BROWSED, seen=[Seen("health", 200, 200, "", "text/html")]), "text/html instead of JSON"),
        (replace(BROWSED, stranger=Seen("stranger", 0, 200, "")), "another site can read"),
    ],
)
def test_what_a_browser_keeps_from_the_page_is_caught(seen: BrowserObservation, word: str) -> None:
    assert any(word in reason for reason in browser_cors.judge(seen))
