"""docs/architecture.md says which room may import which, and the harness knows no name of this app."""

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
HARNESS = ROOT / "src/parity"
APP = {"app", "reel", "video_jobs", "contract"}


def imported(path: Path) -> set[str]:
    """Modules that a file imports, by their full names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms() -> dict[str, set[str]]:
    """Room → rooms that it imports; of other packages only those of this app."""
    graph: defaultdict[str, set[str]] = defaultdict(set)
    for path in HARNESS.rglob("*.py"):
        room = path.relative_to(HARNESS).parts[0].removesuffix(".py")
        for name in imported(path):
            first, _, rest = name.partition(".")
            if first == "parity":
                graph[room].add(rest.partition(".")[0])
            elif first in APP:
                graph[room].add(first)
        graph[room] -= {room}
    return {room: used for room, used in graph.items() if not room.startswith("__")}


def allowed() -> dict[str, set[str]]:
    """The table of the page: room → what it may import."""
    table: dict[str, set[str]] = {}
    for line in (ROOT / "docs/architecture.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 3 and cells[0].startswith("`src/parity/"):
            for room in re.findall(r"`(?:src/parity/)?([a-z0-9_]+)(?:\.py)?`", cells[0]):
                table[room] = {word.strip() for word in cells[2].rstrip(" |").split(",")}
    return table


def test_every_room_is_in_the_table_and_imports_only_what_it_may() -> None:
    table, graph = allowed(), rooms()
    assert sorted(graph) == sorted(table)
    found = {
        room: used - table[room] - {"__version__"} - (set(graph) if "all" in table[room] else set())
        for room, used in graph.items()
    }
    assert {room: used for room, used in found.items() if used} == {}


def test_no_file_of_the_harness_holds_a_name_of_this_app() -> None:
    files = [path for path in HARNESS.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    named = [str(path.relative_to(ROOT)) for path in files if re.search(rb"reel", path.read_bytes(), re.IGNORECASE)]
    assert [name for name in named if not name.startswith("src/parity/bench/")] == []
    assert "reel" not in (ROOT / "compose.yaml").read_text("utf-8").lower()
