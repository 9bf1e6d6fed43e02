"""Every variable that the harness reads stands in a table, and the page is made from the tables."""

import re
from pathlib import Path

import pytest

from parity.cli.main import main
from parity.cli.settings import PAGE, SECTIONS, known_names, page
from parity.config.variables import rows

ROOT = Path(__file__).parents[3]
# Read by people in texts, or put together: no variable of an environment.
NO_SETTINGS = {"PARITY_DEBUG_LISTEN", "PARITY_DEBUG_WAIT",
    "PARITY_TOML", "PARITY_SERVICE_NAME", "PARITY_STUB_NAME", "PARITY_STUB_HOST",
    "PARITY_SERVICE_POSTGRES", "PARITY_SERVICE_REDIS",
}  # fmt: skip


def sources() -> list[Path]:
    found = [ROOT / "compose.yaml", ROOT / "Makefile", *(ROOT / "scripts").iterdir(), *(ROOT / ".ci").iterdir()]
    found += [path for path in (ROOT / "src/parity").rglob("*") if path.suffix in ("", ".py", ".yaml", ".toml")]
    return [path for path in found if path.is_file()]


def test_the_page_is_made_from_the_tables() -> None:
    assert (ROOT / PAGE).read_text("utf-8") == page(), f"run: parity settings --markdown > {PAGE}"


def test_every_name_that_the_sources_hold_stands_in_a_table() -> None:
    pattern = re.compile(r"\bPARITY_[A-Z0-9]+(?:_[A-Z0-9]+)*\b(?!_|…)")
    found = {name for path in sources() for name in pattern.findall(path.read_text("utf-8"))}
    assert sorted(found - set(known_names()) - NO_SETTINGS) == []


def test_no_variable_stands_in_two_tables_and_each_says_what_it_is_for() -> None:
    listed = [row for section in SECTIONS for row in rows(section.table)]
    assert len({row.name for row in listed}) == len(listed)
    assert all(row.help and row.kind.expected for row in listed)


def test_a_misspelt_setting_is_refused_by_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARITY_API_PROT", "9")
    with pytest.raises(SystemExit) as ended:
        main(["urls"])
    assert ended.value.code == 2
    assert "did you mean PARITY_API_PORT?" in capsys.readouterr().err


def test_help_shows_the_settings_that_a_developer_gives(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["up", "--help"])
    shown = capsys.readouterr().out
    assert "PARITY_PORT_OFFSET=0\n" in shown
    assert "PARITY_CA_DIR" not in shown
