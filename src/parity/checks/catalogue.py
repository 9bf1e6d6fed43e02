"""The list of all checks, for ``parity check --list`` and ``docs/checks-list.md``. It is made from the checks' marks.

``python -m parity.checks.catalogue`` writes the page.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from parity.checks.mark import CLASSES, FACTS, About


@dataclass(frozen=True)
class Listed:
    """One check. ``own``: it is one of the app's own checks, not a generic one of the harness."""

    name: str
    about: About
    own: bool


@dataclass
class Catalogue:
    """A pytest plugin that records the checks that pytest collects."""

    listed: list[Listed] = field(default_factory=list)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        generic = Path(__file__).parent
        for item in session.items:
            if about := About.of(item):
                name = str(getattr(item, "originalname", item.name))
                self.listed.append(Listed(name, about, generic not in item.path.parents))
        self.listed.sort(key=lambda one: (one.about.kind, one.own, one.name))


def list_lines(found: Catalogue) -> list[str]:
    """The list for a terminal: one line for each check with class, name, title and needs."""
    lines = []
    for one in found.listed:
        about = one.about
        words = (("live", about.live), ("alone", about.alone), ("apart", about.apart))
        flags = [*about.needs, *(word for word, on in words if on)]
        lines.append(f"{about.kind}  {one.name:<44} {about.title}" + (f"  [{', '.join(flags)}]" if flags else ""))
    return [*lines, f"{len(found.listed)} checks, {sum(one.own for one in found.listed)} of them the app's own"]


def markdown(found: Catalogue) -> str:
    """The page ``docs/checks-list.md``, with a table for each class."""
    lines = [
        "# Every check",
        "",
        "`python -m parity.checks.catalogue` writes this page from the marks of the checks. A check needs optional",
        "methods of the contract, or one of: " + "; ".join(f"`{name}` ({what})" for name, what in FACTS.items()) + ".",
        "",
    ]
    for kind, (name, look) in CLASSES.items():
        of_kind = [one for one in found.listed if one.about.kind == kind]
        if not of_kind:
            continue
        lines += [f"## {kind}: {name}", "", f"When a check fails: {look}.", ""]
        lines += ["| check | promise | needs | broken variant that it must catch |", "|---|---|---|---|"]
        for one in of_kind:
            about = one.about
            needs = ", ".join([*about.needs, *(["live"] if about.live else [])]) or "–"
            variant = f"`{about.broken}`".replace("|", "\\|") if about.broken is not None else f"none: {about.unproven}"
            lines.append(f"| `{one.name}`{' (own)' if one.own else ''} | {about.title} | {needs} | {variant} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Write ``docs/checks-list.md`` of the repository in the current folder."""
    from parity.checks.cli import catalogue
    from parity.config.project import Project

    Path("docs/checks-list.md").write_text(markdown(catalogue(Project.load())), "utf-8")


if __name__ == "__main__":
    main()
