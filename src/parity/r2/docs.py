"""The tables of ``docs/standins/r2.md``; ``python -m parity.r2 docs`` writes them into the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from parity.r2.faults import FIELDS
from parity.r2.gaps import GAPS, STORE_DIFFERENCES
from parity.r2.routes import operations
from parity.r2.rules import RULES, Rule

_SECTION = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _answers(rule: Rule) -> str:
    told = []
    for answer in rule.answers:
        message = f" “{answer.message}”" if answer.message != answer.code else ""
        retry = f", `Retry-After: {answer.retry_after}`" if answer.retry_after else ""
        always = ", with the rule off too" if answer.always else ""
        captured = f" (captured: {answer.captured[0]} `{answer.captured[1]}`)" if answer.captured else ""
        told.append(f"{answer.status} `{answer.code}`{captured}{message}{retry}{always}")
    return "<br>".join(told) or "–"


def _rules() -> str:
    rows = [
        (
            str(rule.number),
            rule.trigger,
            _answers(rule),
            "; ".join(part for part in (rule.note, f"`{rule.setting}`" if rule.setting else "") if part) or "–",
            rule.source,
        )
        for rule in RULES
    ]
    return _table(("#", "when", "answer", "note, setting", "source"), rows)


def _operations() -> str:
    classes: dict[str, list[str]] = {"A": [], "B": [], "": []}
    for operation in operations():
        if operation.served and operation.name not in classes[operation.billing]:
            classes[operation.billing].append(operation.name)
    names = {"A": "class A", "B": "class B", "": "free"}
    rows = [(names[billing], ", ".join(sorted(found))) for billing, found in classes.items()]
    missing = sorted({operation.name for operation in operations() if not operation.served})
    return _table(("billing", "operations"), [*rows, ("501 not implemented", ", ".join(missing))])


def _faults() -> str:
    return ", ".join(f"`{field}`" for field in FIELDS) + "\n"


def _gaps() -> str:
    return _table(("on R2", "here", "seen"), [(gap.what, gap.here, gap.since) for gap in GAPS])


def _stores() -> str:
    return _table(("store", "difference"), list(STORE_DIFFERENCES))


SECTIONS = {
    "rules": _rules,
    "operations": _operations,
    "faults": _faults,
    "gaps": _gaps,
    "stores": _stores,
}


def render(page: str) -> str:
    """``page`` with every marked section as the tables have it. Raises ``KeyError`` for an unknown section."""
    return _SECTION.sub(lambda found: f"{found[1]}{SECTIONS[found[2]]()}{found[3]}", page)


def page_path(root: Path) -> Path:
    return root / "docs" / "standins" / "r2.md"


def write(root: Path) -> None:
    path = page_path(root)
    path.write_text(render(path.read_text("utf-8")), "utf-8")
