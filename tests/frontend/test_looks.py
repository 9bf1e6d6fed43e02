"""What a person sees where: an error is on the screen wherever the page is scrolled to."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect
from tests.frontend.conftest import NewContext, open_page, wait_for_video
from tests.frontend.site import Api, Site


@pytest.mark.parametrize("width", [390, 800, 1280])
def test_an_error_is_seen_wherever_the_page_is_scrolled_to(
    contexts: NewContext, api: Api, site: Site, video: Path, width: int
) -> None:
    api.new_profile()
    game = api.upload(video)
    api.reel("Highlights", [api.clip(game, "Goal")])
    context = contexts(viewport={"width": width, "height": 700})
    tab = open_page(context, site)
    button = tab.get_by_test_id("export-start")
    button.scroll_into_view_if_needed()
    context.set_offline(True)
    button.click()
    expect(tab.get_by_test_id("error-banner")).to_be_in_viewport(ratio=1)
    covered = """banner => {
        const { left, top } = banner.getBoundingClientRect();
        return !banner.contains(document.elementFromPoint(left + 30, top + 3));
    }"""
    assert tab.get_by_test_id("error-banner").evaluate(covered) is False


@pytest.mark.parametrize(("name", "title"), [("Goal", "#clip-form-title"), ("Highlights", "#reel-form-title")])
def test_a_phone_shows_what_is_edited_from_its_title_on(
    contexts: NewContext, api: Api, site: Site, video: Path, name: str, title: str
) -> None:
    api.new_profile()
    api.reel("Highlights", [api.clip(api.upload(video), "Goal")])
    tab = open_page(contexts(viewport={"width": 390, "height": 844}), site)
    tab.get_by_role("button", name=f"Edit {name}").click()
    expect(tab.locator(title)).to_be_in_viewport(ratio=1)
    top = "title => title.getBoundingClientRect().top - document.querySelector('header').getBoundingClientRect().bottom"
    # A notice that comes and goes while the video loads moves both for a moment.
    tab.wait_for_function(f"title => ({top})(document.querySelector(title)) >= 0", arg=title)


COVERED = """() => {
    const { activeElement: element } = document;
    const header = document.querySelector('header');
    const covered = element.getBoundingClientRect().top < header.getBoundingClientRect().bottom;
    return covered && !header.contains(element) && !element.matches('body, .skip') ? element.outerHTML : null;
}"""


@pytest.mark.parametrize("width", [320, 1280])
def test_what_a_keyboard_goes_back_to_is_not_under_the_header(
    contexts: NewContext, api: Api, site: Site, video: Path, width: int
) -> None:
    api.new_profile()
    game = api.upload(video)
    api.reel("Highlights", [api.clip(game, f"Clip {number}") for number in range(4)])
    tab = open_page(contexts(viewport={"width": width, "height": 500}), site)
    expect(tab.get_by_test_id("project-clip")).to_have_count(4)
    wait_for_video(tab)
    tab.get_by_test_id("export-start").focus()
    for _ in range(30):
        tab.keyboard.press("Shift+Tab")
        assert tab.evaluate(COVERED) is None


SCROLLS = """() => [...document.querySelectorAll('main *')].filter((element) =>
    element.scrollHeight > element.clientHeight + 1 && /auto|scroll/.test(getComputedStyle(element).overflowY))
    .map((element) => element.id)"""


@pytest.mark.parametrize(("width", "scrolling"), [(390, []), (1280, ["clip-list", "project-clips"])])
def test_long_lists_scroll_with_the_page_where_the_cards_are_in_one_column(
    contexts: NewContext, api: Api, site: Site, video: Path, width: int, scrolling: list[str]
) -> None:
    api.new_profile()
    game = api.upload(video)
    for number in range(20):
        api.clip(game, f"Clip {number}")
    tab = open_page(contexts(viewport={"width": width, "height": 844}), site)
    expect(tab.get_by_test_id("clip-item")).to_have_count(20)
    expect(tab.get_by_test_id("project-clip")).to_have_count(20)
    assert tab.evaluate(SCROLLS) == scrolling


def test_nothing_half_said_stands_below_a_page_that_loads(contexts: NewContext, site: Site) -> None:
    context = contexts()
    context.route("**/config.json", lambda route: None)
    tab = open_page(context, site, ready=False)
    expect(tab.locator("#starting")).to_be_visible()
    expect(tab.locator("footer")).to_be_hidden()


def test_a_name_that_turns_the_direction_leaves_the_words_around_it_alone(
    context: BrowserContext, api: Api, site: Site
) -> None:
    api.new_profile("\u202egpj.exe")
    tab = open_page(context, site)
    tab.locator("#profile-delete").click()
    expect(tab.locator("#delete-title")).to_have_text("Delete the profile “\u202egpj.exe”?")
    ends = """title => {
        const [all, mark] = [document.createRange(), document.createRange()];
        all.selectNodeContents(title);
        mark.setStart(title.lastChild, title.lastChild.length - 1);
        mark.setEnd(title.lastChild, title.lastChild.length);
        return [all.getBoundingClientRect().right, mark.getBoundingClientRect().right];
    }"""
    whole, question_mark = tab.locator("#delete-title").evaluate(ends)
    assert question_mark == whole


def test_a_list_beside_a_higher_card_uses_its_height(contexts: NewContext, api: Api, site: Site, video: Path) -> None:
    """The card of the clips is as high as that of the reels: its list must not scroll above empty space."""
    api.new_profile()
    game = api.upload(video)
    for number in range(12):
        api.clip(game, f"Clip {number}")
    tab = open_page(contexts(viewport={"width": 1280, "height": 900}), site)
    expect(tab.get_by_test_id("clip-item")).to_have_count(12)
    tab.get_by_role("button", name="Edit Clip 5").click()
    unused = "card => card.getBoundingClientRect().bottom - card.querySelector('ul').getBoundingClientRect().bottom"
    assert tab.locator(".card.clips").evaluate(unused) < 40
    expect(tab.get_by_test_id("project-name")).to_be_visible()
    expect(tab.get_by_test_id("player")).to_be_visible()


def test_a_phone_shows_the_first_of_many_clips_and_all_on_demand(
    contexts: NewContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    game = api.upload(video)
    for number in range(21):
        api.clip(game, f"Clip {number}")
    tab = open_page(contexts(viewport={"width": 390, "height": 844}), site)
    items = tab.get_by_test_id("clip-item")
    expect(items).to_have_count(21)
    expect(items.nth(11)).to_be_visible()
    expect(items.nth(12)).to_be_hidden()
    tab.locator("#clip-list + .more").press("Enter")
    expect(items.nth(20)).to_be_visible()
    expect(items.nth(12).locator("button:focus")).to_have_count(1)
    expect(tab.locator("#clip-list + .more")).to_be_hidden()
    # What is moved behind the last that is shown stays in sight.
    rows = tab.get_by_test_id("project-clip")
    expect(rows.nth(12)).to_be_hidden()
    rows.nth(11).get_by_role("button", name="Later").press("Enter")
    expect(rows.nth(12).locator("button:focus")).to_be_visible()
    tab.set_viewport_size({"width": 1280, "height": 844})
    expect(tab.locator(".more:visible")).to_have_count(0)
