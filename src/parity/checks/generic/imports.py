"""Which modules an app's sources import, and whether the app's requirements install them.

A module that is installed on the developer's machine by chance is missing in the image. The sources are parsed, not
run: importing them could have side effects, and a lazy import inside a function would be missed.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Folders that are no sources of the app. In .parity copies of them come and go with the Machines of the process stack.
_NO_SOURCES = frozenset({".venv", "venv", "node_modules", "__pycache__", ".git", ".parity"})
_TESTS = frozenset({"tests", "test"})
_NAME = re.compile(r"^\s*([A-Za-z0-9][\w.-]*)")
_INCLUDED = re.compile(r"^\s*(?:-r|--requirement)[ =](\S+)")
# Runs in the app's interpreter: prints which distribution provides each module, and what each distribution requires.
_ASK = """
import importlib.metadata as m, json
print(json.dumps({"modules": dict(m.packages_distributions()),
                  "needs": {d.metadata["Name"]: d.requires or [] for d in m.distributions()}}))
"""


@dataclass(frozen=True)
class Installed:
    """The packages of one interpreter, with normalised names.

    ``modules``: the distributions that provide each module. ``needs``: the distributions that each distribution
    requires.
    """

    modules: Mapping[str, Sequence[str]]
    needs: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, python: Path) -> Installed:
        """Ask the interpreter. Raises ``subprocess.SubprocessError`` or ``OSError`` when it cannot run or fails."""
        said = subprocess.run([str(python), "-c", _ASK], capture_output=True, text=True, check=True, timeout=60)
        found = json.loads(said.stdout)
        modules = {module: [normal(name) for name in names] for module, names in found["modules"].items()}
        return cls(modules, {normal(name): list(_names(needs)) for name, needs in found["needs"].items()})

    def brought_by(self, required: Sequence[str]) -> set[str]:
        """The requirements, and everything that they require in turn."""
        found, todo = set[str](), list(required)
        while todo:
            if (name := todo.pop()) not in found:
                found.add(name)
                todo += self.needs.get(name, ())
        return found


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _names(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        # Requirements of an extra count although the extra may not be installed: a missed finding does less harm than a
        # false one.
        if found := _NAME.match(line):
            yield normal(found[1])


def required(file: Path) -> list[str]:
    """The normalised names in a requirements file and in the files that it includes with ``-r``."""
    found: list[str] = []
    for line in file.read_text("utf-8").splitlines():
        if included := _INCLUDED.match(line):
            other = file.parent / included[1]
            found += required(other) if other.is_file() else []
        elif not line.lstrip().startswith(("#", "-")):
            found += _names([line])
    return found


def source_files(folder: Path) -> Iterator[Path]:
    """Every file below ``folder``, in order, but those of environments, packages, repositories and the stack's state.

    ``Path.rglob`` would look into those as well, and fail where a folder is removed meanwhile.
    """
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - _NO_SOURCES)
        yield from (Path(place) / name for name in sorted(files))


def imported(folder: Path) -> dict[str, str]:
    """Third-party modules that the sources need, each with the first place (file:line) that imports it.

    Imports that the sources can do without do not count: those inside ``try`` with ``except ImportError``, and those
    under ``if TYPE_CHECKING``.
    """
    own = {path.stem for path in folder.iterdir()} if folder.is_dir() else set()
    found: dict[str, str] = {}
    for file in source_files(folder):
        if file.suffix != ".py" or _TESTS & set(file.relative_to(folder).parts):
            continue
        try:
            tree = ast.parse(file.read_text("utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for module, line in _imports(tree):
            if module not in sys.stdlib_module_names and module not in own:
                found.setdefault(module, f"{file.relative_to(folder)}:{line}")
    return found


def _imports(node: ast.AST) -> Iterator[tuple[str, int]]:
    if isinstance(node, ast.Try) and any(_catches_import(handler) for handler in node.handlers):
        return
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name.split(".")[0], node.lineno
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module.split(".")[0], node.lineno
    for child in ast.iter_child_nodes(node):
        yield from _imports(child)


def _catches_import(handler: ast.ExceptHandler) -> bool:
    caught = ast.dump(handler.type) if handler.type else "Exception"
    return any(name in caught for name in ("ImportError", "ModuleNotFoundError", "'Exception'"))


def not_brought(modules: Mapping[str, str], requirements: Sequence[str], installed: Installed) -> list[str]:
    """A description of each import that works on this machine but that the requirements do not install."""
    brought = installed.brought_by(requirements)
    return [
        f"{place} imports {module} ({installed.modules[module][0]})"
        for module, place in modules.items()
        if module in installed.modules and not brought & {*installed.modules[module], normal(module)}
    ]
