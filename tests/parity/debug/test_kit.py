"""What a debugged process gets, and that the rest of it stays as it was."""

import os
import subprocess
import sys
from pathlib import Path

from parity.debug import kit


def ran(tmp_path: Path, code: str, **given: str) -> str:
    folder = kit.lay_out(tmp_path / "kit")
    environ = kit.environment({"PATH": os.environ["PATH"], **given}, str(folder), "127.0.0.1:0")
    return subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True).stdout


def test_a_process_listens_before_its_own_code_runs_and_its_children_do_not(tmp_path: Path) -> None:
    code = "import sys, os; print('debugpy' in sys.modules, 'PARITY_DEBUG_LISTEN' in os.environ)"
    assert ran(tmp_path, code) == "True False\n"


def test_the_environments_own_sitecustomize_and_path_are_kept(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import builtins; builtins.OWN = 'yes'")
    assert ran(tmp_path, "print(OWN)", PYTHONPATH=str(own)) == "yes\n"


def test_an_archive_holds_what_a_container_needs_readable_by_all() -> None:
    import io
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(kit.archive("/opt/x"))) as made:
        entries = {entry.name: entry for entry in made.getmembers()}
    assert "opt/x/sitecustomize.py" in entries
    assert "opt/x/debugpy/__init__.py" in entries
    assert {entry.mode for entry in entries.values()} == {0o755, 0o644}
    assert not [name for name in entries if "attach_to_process" in name and name.endswith((".so", ".dll", ".dylib"))]
