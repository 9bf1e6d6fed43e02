"""For everyone: names, targets of a finger's size, contrast, the keyboard alone, small screens, dark mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.frontend.conftest import NewContext, open_page
from tests.frontend.site import Api, Site

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

AUDIT = (Path(__file__).parent / "audit.js").read_text()


@pytest.fixture
def full(api: Api, video: Path) -> Api:
    """A profile with everything in it, with long names."""
    api.new_profile("Sunday league, second team, under seventeen")
    long = "The semi-final against the neighbours on a very wet Tuesday evening in November"
    game = api.upload(video, long)
    clips = [api.clip(game, f"{long} {number}") for number in range(2)]
    api.upload(video, "x" * 200)
    reel = api.reel(long, clips)
    api.exported(reel)
    waiting = {"name": "Waits", "filename": "a.mp4", "content_type": "video/mp4", "size": 5}
    api.call("POST", "/api/games/prepare-upload", waiting)
    return api


def settled(tab: Page) -> Page:
    expect(tab.get_by_test_id("export-item")).to_be_visible()
    tab.wait_for_function("document.querySelector('video').readyState >= 2")
    return tab


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_every_state_can_be_read_touched_and_named(
    contexts: NewContext, full: Api, site: Site, scheme: str, viewport: dict[str, int]
) -> None:
    # Without transitions: the colours of a button that was just enabled are on their way.
    context = contexts(viewport=viewport, color_scheme=scheme, has_touch=True, reduced_motion="reduce")
    tab = settled(open_page(context, site))
    wrong: dict[str, Any] = {"all": tab.evaluate(AUDIT)}
    tab.get_by_role("button", name="Edit The semi-final").first.click()
    wrong["editing"] = tab.evaluate(AUDIT)
    tab.get_by_role("button", name="Delete The semi-final").first.click()
    expect(tab.locator("#delete-dialog")).to_be_visible()
    wrong["deleting"] = tab.evaluate(AUDIT)
    tab.keyboard.press("Escape")
    tab.get_by_role("button", name="Rename profile").click()
    wrong["renaming"] = tab.evaluate(AUDIT)
    tab.keyboard.press("Escape")
    tab.get_by_role("button", name="New profile").click()
    wrong["new profile"] = tab.evaluate(AUDIT)
    context.set_offline(True)
    tab.get_by_test_id("profile-name").fill("Next")
    tab.get_by_test_id("create-profile").click()
    expect(tab.get_by_test_id("error-banner")).to_be_visible()
    wrong["an error"] = tab.evaluate(AUDIT)
    assert {state: found for state, found in wrong.items() if found} == {}


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_the_first_visit_can_be_read_touched_and_named(
    contexts: NewContext, api: Api, site: Site, viewport: dict[str, int]
) -> None:
    tab = open_page(contexts(viewport=viewport, has_touch=True, reduced_motion="reduce"), site)
    assert tab.evaluate(AUDIT) == []
    tab.get_by_test_id("profile-name").fill("Main")
    tab.get_by_test_id("create-profile").click()
    expect(tab.locator("#game-empty")).to_be_visible()
    assert tab.evaluate(AUDIT) == []


def test_dark_mode_follows_the_system(contexts: NewContext, api: Api, site: Site) -> None:
    shade = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).every((part) => part < 60)"
    for scheme, dark in (("light", False), ("dark", True)):
        assert open_page(contexts(color_scheme=scheme), site).evaluate(shade) is dark


def test_the_keyboard_alone_is_enough_and_the_focus_is_never_lost(
    contexts: NewContext, api: Api, site: Site, video: Path
) -> None:
    tab = open_page(contexts(), site)
    focused = "document.activeElement.id"
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    assert tab.evaluate(focused) == "profile-name"
    tab.keyboard.type("Main")
    tab.keyboard.press("Enter")
    expect(tab.locator("#workspace")).to_be_visible()
    tab.get_by_test_id("upload-file").set_input_files(video)
    tab.get_by_test_id("upload-name").focus()
    tab.keyboard.press("Enter")
    expect(tab.locator('[data-status="ready"]')).to_be_visible()
    for start, end, name in ((0, 1, "Alpha"), (1, 2, "Bravo"), (2, 3, "Charlie")):
        tab.get_by_test_id("clip-start").fill(str(start))
        tab.get_by_test_id("clip-end").fill(str(end))
        tab.get_by_test_id("clip-name").fill(name)
        tab.keyboard.press("Enter")
        expect(tab.get_by_test_id("clip-item").filter(has_text=name)).to_be_visible()
        # The list may show the clip before its answer arrives; until then the form is not sent again.
        expect(tab.get_by_test_id("clip-name")).to_have_value("")
    earlier = tab.get_by_role("button", name="Earlier: Charlie")
    earlier.focus()
    tab.keyboard.press("Enter")
    tab.keyboard.press("Enter")
    assert tab.get_by_test_id("project-clip").locator(".title").all_inner_texts() == ["Charlie", "Alpha", "Bravo"]
    assert "Charlie" in tab.evaluate("document.activeElement.closest('li').innerText")
    remove = tab.get_by_role("button", name="Delete Bravo")
    remove.focus()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("button", name="Keep it")).to_be_focused()
    tab.keyboard.press("Escape")
    expect(remove).to_be_focused()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("button", name="Keep it")).to_be_focused()
    tab.keyboard.press("Shift+Tab")
    tab.keyboard.press("Enter")
    expect(tab.get_by_test_id("clip-item")).to_have_count(2)
    assert tab.evaluate("document.activeElement.closest('section')?.className ?? ''") == "card clips"


def test_a_focused_control_shows_it(contexts: NewContext, api: Api, site: Site) -> None:
    tab = open_page(contexts(), site)
    tab.get_by_test_id("profile-name").focus()
    tab.keyboard.press("Tab")
    outline = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_nothing_moves_for_those_who_asked_for_less_motion(contexts: NewContext, api: Api, site: Site) -> None:
    tab = open_page(contexts(reduced_motion="reduce"), site)
    names = "[...document.querySelectorAll('.spinner')].map(spinner => getComputedStyle(spinner).animationName)"
    assert set(tab.evaluate(names)) == {"none"}


def test_what_is_chosen_is_seen_where_the_system_gives_the_colours(
    contexts: NewContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    api.upload(video)
    tab = open_page(contexts(forced_colors="active"), site)
    chosen = tab.locator("li.chosen")
    expect(chosen).to_be_visible()
    assert chosen.evaluate("item => getComputedStyle(item).outlineStyle") == "solid"
