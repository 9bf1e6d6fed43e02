from pathlib import Path

import pytest

from parity.frontend.files import content_type, resolve


@pytest.fixture
def site(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    (root / "docs").mkdir(parents=True)
    for name in ("index.html", "app.js", "about.html", "docs/index.html"):
        (root / name).write_text(name)
    (tmp_path / "secret.txt").write_text("secret")
    return root


@pytest.mark.parametrize(
    ("path", "file"),
    [("/", "index.html"), ("/app.js", "app.js"), ("/about", "about.html"), ("/docs/", "docs/index.html")],
)
def test_a_path_that_has_a_file_gets_it(site: Path, path: str, file: str) -> None:
    assert resolve(site, path).file == site / file


@pytest.mark.parametrize("path", ["/games/17", "/api/health", "/missing.js", "/docs/none"])
def test_any_other_path_gets_the_index_page_as_a_single_page_host_does(site: Path, path: str) -> None:
    found = resolve(site, path)
    assert (found.kind, found.file) == ("file", site / "index.html")


def test_with_a_404_page_it_is_no_single_page_site(site: Path) -> None:
    (site / "404.html").write_text("none")
    found = resolve(site, "/missing")
    assert (found.kind, found.file) == ("missing", site / "404.html")


@pytest.mark.parametrize("path", ["/../secret.txt", "//../secret.txt", "/docs/../../secret.txt"])
def test_no_path_leads_out_of_the_folder(site: Path, path: str) -> None:
    assert resolve(site, path).file == site / "index.html"


def test_a_link_out_of_the_folder_is_not_followed(site: Path) -> None:
    (site / "leak.txt").symlink_to(site.parent / "secret.txt")
    assert resolve(site, "/leak.txt").file == site / "index.html"


@pytest.mark.parametrize(
    ("path", "to"), [("/about.html", "/about"), ("/index.html", "/"), ("/docs/index.html", "/docs/")]
)
def test_html_endings_are_redirected_away(site: Path, path: str, to: str) -> None:
    assert resolve(site, path).location == to


def test_modules_have_a_type_that_browsers_run() -> None:
    assert content_type(Path("app.js")) == "application/javascript"
    assert content_type(Path("style.css")) == "text/css; charset=utf-8"
