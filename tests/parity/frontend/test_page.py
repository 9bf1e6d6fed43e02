"""The page's ids are a contract with the browser checks: docs/frontend.md lists them."""

import re
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "src/frontend"
MADE_BY_SCRIPT = {"game-item", "clip-item", "project-clip", "reel-item", "export-item", "upload-item"}


class _Ids(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tested: dict[str, str | None] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if given.get("data-testid"):
            self.tested[str(given["data-testid"])] = given.get("id")


def page() -> _Ids:
    found = _Ids()
    found.feed((PAGE / "index.html").read_text())
    return found


def documented() -> set[str]:
    table = (ROOT / "docs/frontend.md").read_text().partition("## Ids")[2].partition("## Modules")[0]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {name for cell in first_cells for name in re.findall(r"`([a-z-]+)`", cell)}


def test_every_documented_id_is_on_the_page_and_every_testid_is_documented() -> None:
    assert set(page().tested) | MADE_BY_SCRIPT == documented()


def test_an_elements_id_and_testid_are_the_same() -> None:
    assert {name: name for name in page().tested} == page().tested


def test_no_id_is_used_twice() -> None:
    ids = page().ids
    assert sorted(set(ids)) == sorted(ids)


def test_each_id_that_a_module_asks_for_is_on_the_page() -> None:
    asked = {name for file in PAGE.glob("*.js") for name in re.findall(r'byId\("([a-z-]+)"\)', file.read_text("utf-8"))}
    assert asked <= set(page().ids)
