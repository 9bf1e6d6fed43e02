"""Imports against requirements: what is missing is named, and nothing that is there."""

from __future__ import annotations

from pathlib import Path

from parity.checks.generic.imports import Installed, imported, not_brought, required, source_files

INSTALLED = Installed(
    modules={"PIL": ["pillow"], "fastapi": ["fastapi"], "starlette": ["starlette"], "yaml": ["pyyaml"]},
    needs={"fastapi": ["starlette"]},
)


def _sources(folder: Path, text: str) -> dict[str, str]:
    (folder / "app").mkdir()
    (folder / "app" / "main.py").write_text(text, "utf-8")
    return imported(folder)


def test_imports_of_others_are_found_also_inside_of_functions(tmp_path: Path) -> None:
    found = _sources(tmp_path, "import os\nimport app.x\nfrom . import y\n\ndef f():\n    from PIL import Image\n")
    assert found == {"PIL": "app/main.py:6"}


def test_an_optional_import_and_one_for_types_do_not_count(tmp_path: Path) -> None:
    text = (
        "from typing import TYPE_CHECKING\ntry:\n    import yaml\nexcept ImportError:\n    yaml = None\n"
        "if TYPE_CHECKING:\n    import fastapi\n"
    )
    assert _sources(tmp_path, text) == {}


def test_a_module_without_its_requirement_is_named_with_its_place() -> None:
    assert not_brought({"PIL": "a.py:1"}, ["fastapi"], INSTALLED) == ["a.py:1 imports PIL (pillow)"]


def test_what_a_requirement_needs_in_turn_is_brought() -> None:
    assert not_brought({"starlette": "a.py:1", "PIL": "a.py:2"}, ["fastapi", "pillow"], INSTALLED) == []


def test_a_module_that_this_machine_does_not_know_accuses_nobody() -> None:
    assert not_brought({"unknown": "a.py:1"}, [], INSTALLED) == []


def test_requirements_are_read_with_extras_hashes_and_included_files(tmp_path: Path) -> None:
    (tmp_path / "base.txt").write_text("uvicorn[standard]==0.30 \\\n    --hash=sha256:00\n", "utf-8")
    (tmp_path / "prod.txt").write_text("# made by hand\n-r base.txt\nPyYAML>=6; python_version < '4'\n", "utf-8")
    assert required(tmp_path / "prod.txt") == ["uvicorn", "pyyaml"]


def test_copies_of_the_sources_that_the_stack_keeps_are_no_sources(tmp_path: Path) -> None:
    for place in ("app", ".parity/machines/m1/app", ".venv/lib/app", "node_modules/app"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "requirements.txt").write_text("")
    assert list(source_files(tmp_path)) == [tmp_path / "app/requirements.txt"]
