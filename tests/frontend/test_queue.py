"""Several files are sent one after the other; each says what becomes of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect
from tests.frontend.conftest import open_page, until
from tests.frontend.site import Api, Site
from tests.frontend.test_errors import problem
from tests.frontend.test_uploads import PARTS, READY, begin

DROP = """names => {
  const dataTransfer = new DataTransfer();
  for (const name of names) dataTransfer.items.add(new File(["x"], name, { type: "video/mp4" }));
  const options = { dataTransfer, bubbles: true, cancelable: true };
  return ["dragover", "drop"].map(name => !document.body.dispatchEvent(new DragEvent(name, options)));
}"""


@pytest.fixture
def halves(tmp_path: Path, video: Path, long_video: Path) -> list[Path]:
    """A long file, one that is no video, and a short one."""
    (tmp_path / "Notes.mp4").write_text("no video")
    first = shutil.copy(long_video, tmp_path / "First half.mp4")
    return [Path(first), tmp_path / "Notes.mp4", Path(shutil.copy(video, tmp_path / "Second half.mp4"))]


def upload(tab: Page, files: list[Path]) -> None:
    tab.get_by_test_id("upload-file").set_input_files(files)
    tab.get_by_test_id("upload-start").click()


def hold_parts(tab: Page) -> list[Route]:
    held: list[Route] = []
    tab.route(PARTS, lambda route: held.append(route))
    return held


def test_several_files_are_sent_one_after_the_other_and_one_that_is_refused_holds_up_none(
    tab: Page, api: Api, halves: list[Path]
) -> None:
    held = hold_parts(tab)
    tab.get_by_test_id("upload-name").fill("Typed for one file")
    tab.get_by_test_id("upload-file").set_input_files(halves)
    expect(tab.get_by_test_id("upload-name")).to_be_disabled()
    expect(tab.get_by_test_id("upload-start")).to_have_text("Upload 3 videos")
    tab.get_by_test_id("upload-start").click()
    until(tab, held)
    expect(tab.locator("#upload-title")).to_have_text("First half")
    # A screen reader does not say each percent.
    expect(tab.get_by_test_id("upload-text")).to_have_attribute("aria-live", "off")
    items = tab.get_by_test_id("upload-item")
    expect(items).to_contain_text(["NotesWaiting", "Second halfWaiting"])
    assert [game["name"] for game in api.call("GET", "/api/games")["games"]] == ["First half"]
    tab.unroute(PARTS)  # which sends on what waited
    expect(tab.locator(READY)).to_have_count(2)
    assert [game["name"] for game in api.call("GET", "/api/games")["games"]] == ["Second half", "First half"]
    expect(items).to_have_count(1)
    expect(items).to_contain_text("nothing was stored")
    expect(items.get_by_role("button", name="Try")).to_have_count(0)
    expect(tab.get_by_test_id("error-banner")).to_contain_text("“Notes” was not uploaded.")
    # The later ones do not take the place of the one that a person works with.
    expect(tab.locator("#player-title")).to_have_text("First half")
    items.get_by_role("button", name="Remove Notes from this list").click()
    expect(items).to_have_count(0)
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()


def test_a_file_that_waits_can_be_left_out_and_one_is_added_meanwhile(
    tab: Page, api: Api, halves: list[Path], video: Path
) -> None:
    held = hold_parts(tab)
    first, notes, second = halves
    upload(tab, [first, notes, second])
    until(tab, held)
    tab.get_by_role("button", name="Do not upload Notes").click()
    begin(tab, video, "Extra time")
    tab.locator("#upload-cancel").click()
    tab.get_by_test_id("delete-yes").click()
    # The parts of the first file stay held, so it cannot arrive before it is cancelled. The others have no parts.
    expect(tab.locator(READY)).to_have_count(2)
    assert [game["name"] for game in api.call("GET", "/api/games")["games"]] == ["Extra time", "Second half"]
    expect(tab.get_by_test_id("upload-item")).to_have_count(0)
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()


def test_a_file_that_failed_is_tried_again_after_those_before_it(
    tab: Page, site: Site, api: Api, halves: list[Path], video: Path
) -> None:
    tab.route("**/prepare-upload", problem(500, site.page))
    begin(tab, video, "Refused once")
    item = tab.get_by_test_id("upload-item")
    expect(item).to_contain_text("on purpose")
    tab.unroute("**/prepare-upload")
    held = hold_parts(tab)
    begin(tab, halves[0], "Sent now")
    until(tab, held)
    # A new upload takes the message away, and the list keeps it.
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()
    item.get_by_role("button", name="Try the upload of Refused once again").click()
    expect(item).to_contain_text("Waiting")
    expect(tab.locator("#upload-title")).to_have_text("Sent now")
    tab.unroute(PARTS)
    expect(tab.locator(READY)).to_have_count(2)
    assert len(api.call("GET", "/api/games")["games"]) == 2


def test_a_reload_says_which_files_were_left(tab: Page, halves: list[Path]) -> None:
    held = hold_parts(tab)
    tab.on("dialog", lambda dialog: dialog.accept())
    upload(tab, halves)
    until(tab, held)
    tab.reload()
    tab.unroute(PARTS)
    items = tab.get_by_test_id("upload-item")
    expect(items).to_have_count(2)
    expect(items.last).to_contain_text("Second half")
    expect(items.last).to_contain_text("Not uploaded: the page was loaded anew")
    expect(tab.get_by_role("button", name="Resume the upload of First half")).to_be_visible()
    upload(tab, [halves[2]])
    expect(tab.locator(READY)).to_have_count(1)
    expect(items).to_have_count(1)
    items.get_by_role("button", name="Remove Notes").click()
    tab.reload()
    expect(tab.locator(READY)).to_have_count(1)
    expect(items).to_have_count(0)


def test_files_that_are_added_without_a_network_wait_for_it(
    context: BrowserContext, tab: Page, halves: list[Path]
) -> None:
    context.set_offline(True)
    upload(tab, [halves[0], halves[2]])
    expect(tab.get_by_test_id("upload-text")).to_have_text("Waiting for the network")
    expect(tab.get_by_test_id("upload-item")).to_have_count(1)
    context.set_offline(False)
    expect(tab.locator(READY)).to_have_count(2)
    expect(tab.get_by_test_id("game-item")).to_have_count(2)
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()


def test_an_upload_that_is_resumed_waits_for_its_turn(tab: Page, api: Api, halves: list[Path]) -> None:
    held = hold_parts(tab)
    tab.on("dialog", lambda dialog: dialog.accept())
    upload(tab, [halves[0]])
    until(tab, held, 3)
    tab.reload()
    begin(tab, halves[0], "Other")
    until(tab, held, 6)
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name="Resume the upload of First half").click()
    chooser.value.set_files(halves[0])
    expect(tab.get_by_test_id("game-item").last).to_contain_text("Its upload waits for its turn")
    expect(tab.get_by_role("button", name="Resume")).to_have_count(0)
    tab.unroute(PARTS)
    expect(tab.locator(READY)).to_have_count(2)
    assert len(api.call("GET", "/api/games")["games"]) == 2


def test_files_that_are_dropped_anywhere_are_chosen_and_never_open_in_place_of_the_page(tab: Page) -> None:
    file, name = tab.get_by_test_id("upload-file"), tab.get_by_test_id("upload-name")
    assert tab.evaluate(DROP, ["First half.mp4"]) == [True, True]
    expect(name).to_have_value("First half")
    expect(name).to_be_focused()
    assert tab.evaluate(DROP, ["a.mp4", "b.mp4"]) == [True, True]
    assert file.evaluate("field => [...field.files].map(({ name }) => name)") == ["a.mp4", "b.mp4"]
    expect(tab.get_by_test_id("upload-start")).to_have_text("Upload 2 videos")
    expect(tab.get_by_test_id("upload-start")).to_be_focused()
    assert tab.evaluate(DROP, [".mp4"]) == [True, True]
    expect(name).to_have_value(".mp4")


def test_a_file_that_is_dropped_before_there_is_a_profile_is_kept(context: BrowserContext, site: Site) -> None:
    tab = open_page(context, site)
    assert tab.evaluate(DROP, ["First half.mp4"]) == [True, True]
    kept = tab.get_by_test_id("upload-kept")
    expect(kept).to_have_text("“First half.mp4” can be uploaded as soon as there is a profile.")
    tab.get_by_test_id("profile-name").fill("Main")
    tab.get_by_test_id("create-profile").click()
    expect(tab.get_by_test_id("upload-name")).to_have_value("First half")
    expect(kept).to_be_hidden()


def test_an_upload_is_done_although_the_list_of_games_does_not_load(
    tab: Page, site: Site, api: Api, video: Path
) -> None:
    def finalize(route: Route) -> None:
        tab.route("**/api/games", problem(500, site.page))
        route.continue_()

    tab.route("**/finalize-upload", finalize)
    begin(tab, video)
    expect(tab.locator('#error-banner[data-cause="server"]')).to_be_visible()
    expect(tab.locator("#upload-state")).to_be_hidden()
    expect(tab.get_by_test_id("upload-item")).to_have_count(0)
    tab.unroute("**/api/games")
    expect(tab.locator(READY)).to_have_count(1)
    assert len(api.call("GET", "/api/games")["games"]) == 1
