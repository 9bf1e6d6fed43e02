"""What a person sees where: an error is on the screen wherever the page is scrolled to."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect
from tests.frontend.conftest import NewContext, open_page
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
