"""Back, forward, reloads and links find what was open, and nothing that was typed is lost without a question."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import BrowserContext, Dialog, Page, Route, expect
from tests.frontend.conftest import NewContext, open_page, until
from tests.frontend.site import Api, Site


def shows(tab: Page, title: str, profile: str) -> None:
    expect(tab.locator("#player-title")).to_have_text(title)
    expect(tab.get_by_test_id("profile-select")).to_have_value(profile)
    tab.wait_for_function("() => document.querySelector('video').readyState > 0")
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()


def test_back_forward_reload_and_a_link_show_what_was_open(
    context: BrowserContext, contexts: NewContext, api: Api, site: Site, video: Path
) -> None:
    other = api.new_profile("Other")
    api.upload(video, "Friendly")
    main = api.new_profile("Main")
    api.call("POST", f"/api/profiles/{main}/select")
    game = api.upload(video, "Semi-final")
    clip = api.clip(game, "Goal")
    api.call("POST", f"/api/clips/{clip}/extract")
    api.upload(video, "Final")
    tab = open_page(context, site)
    shows(tab, "Final", main)
    tab.get_by_role("button", name="Watch Semi-final").click()
    shows(tab, "Semi-final", main)
    tab.get_by_role("button", name="Watch Goal").click()
    shows(tab, "Clip: Goal", main)
    tab.get_by_test_id("profile-select").select_option(other)
    shows(tab, "Friendly", other)

    tab.go_back()
    shows(tab, "Clip: Goal", main)
    link = tab.url
    tab.reload()
    shows(tab, "Clip: Goal", main)
    tab.go_back()
    shows(tab, "Semi-final", main)
    tab.reload()
    tab.go_back()
    shows(tab, "Final", main)
    for title, profile in (("Semi-final", main), ("Clip: Goal", main), ("Friendly", other)):
        tab.go_forward()
        shows(tab, title, profile)

    second = context.new_page()
    second.goto(link)
    shows(second, "Clip: Goal", main)
    api.call("DELETE", f"/api/games/{game}?cascade=true")
    second.reload()
    shows(second, "Final", main)
    assert game not in second.url
    # The link of another person opens the own profile.
    third = context.new_page()
    third.goto(f"{site.page}/#/p_none/g_none")
    expect(third.locator("#workspace")).to_be_visible()
    expect(third.get_by_test_id("error-banner")).to_be_hidden()
    assert "p_none" not in third.url


def test_going_back_while_the_lists_load_opens_what_the_address_names(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    main = api.new_profile("Main")
    api.upload(video, "Semi-final")
    api.upload(video, "Final")
    tab = open_page(context, site)
    for title in ("Semi-final", "Final"):
        tab.get_by_role("button", name=f"Watch {title}").click()
        shows(tab, title, main)
    held: list[Route] = []
    tab.route("**/api/games", lambda route: held.append(route))
    tab.reload()
    until(tab, held)
    tab.go_back()
    for route in held:
        route.continue_()
    shows(tab, "Semi-final", main)
    tab.unroute("**/api/games")
    tab.go_forward()
    shows(tab, "Final", main)


def test_another_profile_asks_before_it_empties_a_form(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    other = api.new_profile("Other")
    main = api.new_profile("Main")
    api.call("POST", f"/api/profiles/{main}/select")
    api.upload(video, "Final")
    tab = open_page(context, site)
    tab.get_by_test_id("profile-select").select_option(other)
    expect(tab.locator("#game-empty")).to_be_visible()
    tab.get_by_test_id("profile-select").select_option(main)
    shows(tab, "Final", main)
    tab.get_by_test_id("clip-name").fill("Nearly saved")
    here = tab.url
    tab.go_back()
    expect(tab.locator("#delete-changes")).to_have_text("The clip in the form is not saved.")
    tab.get_by_role("button", name="Keep it").click()
    expect(tab.get_by_test_id("clip-name")).to_have_value("Nearly saved")
    tab.wait_for_url(here)
    tab.get_by_test_id("profile-select").select_option(other)
    tab.get_by_role("button", name="Keep it").click()
    expect(tab.get_by_test_id("profile-select")).to_have_value(main)
    expect(tab.get_by_test_id("clip-name")).to_have_value("Nearly saved")
    tab.get_by_test_id("profile-select").select_option(other)
    tab.get_by_test_id("delete-yes").click()
    expect(tab.locator("#game-empty")).to_be_visible()


def test_a_reload_asks_while_something_is_typed_and_not_after_it_was_saved(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    clip = api.clip(api.upload(video), "Goal")
    api.call("POST", f"/api/clips/{clip}/extract")
    tab = open_page(context, site)
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    tab.on("dialog", stay)
    tab.get_by_test_id("project-name").fill("Highlights")
    # Not `reload`: it waits for a page that the answer to the question prevents.
    tab.evaluate("setTimeout(() => location.reload())")
    while not asked:
        tab.wait_for_timeout(20)
    assert asked == ["beforeunload"]
    expect(tab.get_by_test_id("project-name")).to_have_value("Highlights")
    tab.get_by_test_id("project-create").click()
    expect(tab.get_by_test_id("reel-item")).to_have_count(1)
    tab.reload()
    expect(tab.get_by_test_id("reel-item")).to_have_count(1)
    assert asked == ["beforeunload"]


def test_the_skip_link_keeps_what_the_address_opens(context: BrowserContext, api: Api, site: Site, video: Path) -> None:
    api.new_profile()
    game = api.upload(video)
    tab = open_page(context, site)
    expect(tab).to_have_url(re.compile(game))
    tab.locator(".skip").press("Enter")
    expect(tab.locator("#main")).to_be_focused()
    expect(tab).to_have_url(re.compile(game))
