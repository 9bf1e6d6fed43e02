"""Rename, edit and delete; each deletion says first what it changes."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import BrowserContext, Page, expect
from tests.frontend.conftest import open_page
from tests.frontend.site import Api, Site


def rename(tab: Page, what: str, name: str) -> None:
    tab.get_by_role("button", name=f"Rename {what}", exact=True).click()
    tab.locator("#rename-name").fill(name)
    tab.get_by_test_id("rename-yes").click()


def ask_to_delete(tab: Page, what: str) -> str:
    """Opens the question; what it says of the changes."""
    tab.get_by_role("button", name=f"Delete {what}", exact=True).click()
    expect(tab.locator("#delete-dialog")).to_be_visible()
    return " ".join(tab.locator("#delete-changes").inner_text().split())


def test_a_profile_is_renamed_and_deleted(tab: Page, api: Api) -> None:
    rename(tab, "profile Main", "U17")
    expect(tab).to_have_title("U17 · Reel Ballers")
    assert "deleted for good" in ask_to_delete(tab, "profile U17")
    tab.get_by_role("button", name="Keep it").click()
    assert [one["name"] for one in api.call("GET", "/api/profiles")["profiles"]] == ["U17"]
    ask_to_delete(tab, "profile U17")
    tab.get_by_test_id("delete-yes").click()
    expect(tab.get_by_test_id("profile-name")).to_be_visible()
    assert api.call("GET", "/api/profiles")["profiles"] == []


def test_deleting_a_game_says_which_clips_and_reels_it_changes(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    game, other = api.upload(video, "Match"), api.upload(video, "Other")
    clips = [api.clip(game, "Goal"), api.clip(game, "Save"), api.clip(other, "Corner")]
    api.reel("Highlights", clips)
    api.reel("Corners", [clips[2]])
    tab = open_page(context, site)
    rename(tab, "Match", "Cup final")
    expect(tab.get_by_role("button", name="Watch Cup final")).to_be_visible()
    said = ask_to_delete(tab, "Cup final")
    assert "2 clips" in said
    assert "“Highlights” loses" in said
    assert "Corners" not in said
    tab.get_by_test_id("delete-yes").click()
    expect(tab.get_by_test_id("game-item")).to_have_count(1)
    expect(tab.get_by_test_id("clip-item")).to_have_count(1)
    assert [reel["clip_ids"] for reel in api.call("GET", "/api/projects")["projects"]] == [[clips[2]], [clips[2]]]


def test_a_clip_that_came_meanwhile_is_named_before_the_game_goes(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    game = api.upload(video, "Match")
    tab = open_page(context, site)
    assert ask_to_delete(tab, "Match") == ""
    api.clip(game, "Goal")
    tab.get_by_test_id("delete-yes").click()
    expect(tab.locator("#delete-changes")).to_contain_text("1 clip cut from it is deleted too")
    assert len(api.call("GET", "/api/games")["games"]) == 1
    tab.get_by_test_id("delete-yes").click()
    expect(tab.get_by_test_id("game-item")).to_have_count(0)
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()


def test_a_clip_is_edited_and_taken_out_of_its_reels(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    game = api.upload(video)
    clips = [api.clip(game, "Goal", 0.5, 1.5), api.clip(game, "Save", 1, 2)]
    api.reel("Highlights", clips)
    tab = open_page(context, site)
    tab.get_by_role("button", name="Edit Goal").click()
    expect(tab.get_by_test_id("clip-start")).to_have_value("0.5")
    tab.get_by_test_id("clip-name").fill("First goal")
    tab.get_by_test_id("clip-create").click()
    expect(tab.get_by_test_id("clip-item").filter(has_text="First goal")).to_be_visible()
    same = api.call("GET", f"/api/clips/{clips[0]}")
    assert (same["name"], same["start"], same["end"]) == ("First goal", 0.5, 1.5)
    tab.get_by_role("button", name="Edit First goal").click()
    tab.get_by_test_id("clip-end").fill("2")
    tab.get_by_test_id("clip-create").click()
    expect(tab.locator(f'[data-id="{clips[0]}"][data-testid="clip-item"]')).to_contain_text("0:00.50 – 0:02.00")
    moved = api.call("GET", f"/api/clips/{clips[0]}")
    assert (moved["start"], round(moved["end"], 2)) == (0.5, 2.0)
    assert "taken out of “Highlights”" in ask_to_delete(tab, "First goal")
    tab.get_by_test_id("delete-yes").click()
    expect(tab.get_by_test_id("clip-item")).to_have_count(1)
    assert api.call("GET", "/api/projects")["projects"][0]["clip_ids"] == [clips[1]]


def test_a_reel_is_edited_and_deleted(context: BrowserContext, api: Api, site: Site, video: Path) -> None:
    api.new_profile()
    game = api.upload(video)
    clips = [api.clip(game, name) for name in ("A", "B", "C")]
    reel = api.reel("Highlights", [clips[2], clips[0]])
    tab = open_page(context, site)
    tab.get_by_role("button", name="Edit Highlights").click()
    rows = tab.get_by_test_id("project-clip")
    expect(rows.locator("input:checked")).to_have_count(2)
    tab.get_by_role("button", name="Earlier: A").click()
    tab.get_by_test_id("project-name").fill("Best of")
    tab.get_by_test_id("aspect").select_option("9:16")
    tab.get_by_test_id("project-create").click()
    expect(tab.get_by_test_id("reel-item")).to_contain_text("Best of")
    changed = api.call("GET", f"/api/projects/{reel}")
    assert (changed["name"], changed["clip_ids"]) == ("Best of", [clips[0], clips[2]])
    assert (changed["options"]["aspect"], changed["options"]["quality"]) == ("9:16", "draft")
    assert "stay" in ask_to_delete(tab, "Best of")
    tab.get_by_test_id("delete-yes").click()
    expect(tab.get_by_test_id("reel-item")).to_have_count(0)


def test_a_reel_of_a_few_of_many_clips_begins_with_none(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    game = api.upload(video)
    clips = [api.clip(game, f"Clip {number}") for number in range(4)]
    tab = open_page(context, site)
    boxes = tab.get_by_test_id("project-clip").locator("input")
    expect(boxes).to_have_count(4)
    tab.get_by_role("button", name="Choose none").click()
    expect(tab.locator("#project-clips input:checked")).to_have_count(0)
    tab.get_by_role("button", name="Choose all").click()
    expect(tab.locator("#project-clips input:checked")).to_have_count(4)
    tab.get_by_role("button", name="Choose none").click()
    boxes.nth(2).check()
    expect(tab.locator("#reel-all")).to_have_text("Choose none")
    # What another tab cuts meanwhile was not picked.
    api.clip(game, "Another")
    tab.evaluate("import('/store.js').then(({ load }) => load())")
    expect(boxes).to_have_count(5)
    expect(tab.locator("#project-clips input:checked")).to_have_count(1)
    tab.get_by_test_id("project-name").fill("One")
    tab.get_by_test_id("project-create").click()
    expect(tab.get_by_test_id("reel-item")).to_be_visible()
    assert api.call("GET", "/api/projects")["projects"][0]["clip_ids"] == [clips[2]]


def test_boxes_that_were_all_left_by_hand_show_that_all_are_chosen_again(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    game = api.upload(video)
    for number in range(3):
        api.clip(game, f"Clip {number}")
    tab = open_page(context, site)
    boxes = tab.get_by_test_id("project-clip").locator("input")
    expect(boxes).to_have_count(3)
    for number in range(3):
        boxes.nth(number).uncheck()
    tab.get_by_role("button", name="Choose all").click()
    expect(tab.locator("#project-clips input:checked")).to_have_count(3)


def test_a_long_reason_of_a_failed_export_stands_once_and_in_full_on_demand(
    context: BrowserContext, api: Api, site: Site
) -> None:
    api.new_profile()
    reason = f"render_reel failed: {'ffmpeg could not write a packet, ' * 6}the end"
    job = {"id": "job_1", "project_id": "project_1", "name": "Highlights", "status": "failed", "reason": reason}
    allowed = {"Access-Control-Allow-Origin": site.page}
    context.route("**/api/exports", lambda route: route.fulfill(json={"exports": [job]}, headers=allowed))
    tab = open_page(context, site)
    item = tab.get_by_test_id("export-item")
    expect(item).to_contain_text("Failed: render_reel failed")
    expect(item.get_by_text("the end")).to_be_hidden()
    item.locator("summary").press("Enter")
    expect(item.get_by_text("the end")).to_be_visible()
    tab.evaluate("import('/store.js').then(({ load }) => load())")
    expect(item.get_by_text("the end")).to_be_visible()
    tab.evaluate("job => import('/exports.js').then(({ show }) => show(job))", job)
    expect(tab.get_by_test_id("export-status")).to_have_text("Failed")


def test_a_reel_that_lost_its_clips_cannot_be_chosen_for_an_export(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    game = api.upload(video)
    full = api.reel("Full", [api.clip(game, "Goal")])
    lost = api.clip(game, "Save")
    api.reel("Empty", [lost])
    tab = open_page(context, site)
    choice = tab.get_by_test_id("project-select")
    expect(choice.locator("option:checked")).to_have_text("Empty")
    ask_to_delete(tab, "Save")
    tab.get_by_test_id("delete-yes").click()
    expect(choice.locator("option:disabled")).to_have_text("Empty (no clips)")
    expect(choice).to_have_value(full)


def test_an_export_is_followed_renamed_downloaded_and_deleted(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    game = api.upload(video)
    api.reel("Highlights", [api.clip(game, "Goal")])
    tab = open_page(context, site)
    tab.get_by_test_id("export-start").click()
    expect(tab.locator('[data-testid="export-status"][data-state="complete"]')).to_be_visible(timeout=60_000)
    expect(tab.get_by_test_id("download-link")).to_be_visible()
    rename(tab, "Highlights", "For the club")
    row = tab.get_by_test_id("export-item")
    expect(row).to_contain_text("For the club")
    expect(tab.locator("#export-title")).to_have_text("For the club")
    with tab.expect_download() as saved:
        tab.get_by_role("button", name="Download For the club").click()
    assert saved.value.suggested_filename == "For the club.mp4"
    ask_to_delete(tab, "For the club")
    tab.get_by_test_id("delete-yes").click()
    expect(row).to_have_count(0)
    expect(tab.get_by_test_id("download-link")).to_be_hidden()
    assert api.call("GET", "/api/exports")["exports"] == []


def test_what_another_tab_deleted_while_it_was_edited_leaves_the_form(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    game = api.upload(video)
    clip = api.clip(game, "Goal")
    tab = open_page(context, site)
    tab.get_by_role("button", name="Edit Goal").click()
    api.call("DELETE", f"/api/clips/{clip}")
    tab.get_by_test_id("clip-create").click()
    expect(tab.get_by_test_id("error-banner")).to_contain_text("no clip")
    expect(tab.get_by_test_id("clip-create")).to_have_text("Cut clip")
