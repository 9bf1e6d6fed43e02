"""The documentation pages of the stand-in; ``python -m parity.r2 docs`` rewrites them.

``docs/standins/r2-rules.md`` is generated from the tables in the code; of ``docs/standins/r2.md`` only the marked
sections are generated.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from parity.r2.answers import ANSWERS
from parity.r2.faults import FIELDS
from parity.r2.gaps import GAPS, STORE_DIFFERENCES
from parity.r2.routes import operations
from parity.r2.rules import RULE_OF, RULES, Rule
from parity.r2.sources import DISAGREEMENTS, PAGES, READ

_SECTION = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)
_CODE = Path(__file__).parent
# Modules that define answers; they do not send them.
_TABLES = {"answers.py", "rules.py", "errors.py", "docs.py"}


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


@cache
def where() -> Mapping[int, tuple[str, ...]]:
    """For each rule, the modules that apply it: those that use one of its answers or call ``holds`` with its number."""
    found: dict[int, set[str]] = {rule.number: set() for rule in RULES}
    for path in sorted(_CODE.rglob("*.py")):
        if path.name in _TABLES:
            continue
        name = str(path.relative_to(_CODE))
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ANSWERS:
                found[RULE_OF[ANSWERS[node.attr]].number].add(name)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "holds":
                (number,) = node.args
                if isinstance(number, ast.Constant) and isinstance(number.value, int):
                    found[number.value].add(name)
    return {number: tuple(sorted(modules)) for number, modules in found.items()}


def _answers(rule: Rule) -> str:
    told: list[str] = []
    for answer in rule.answers:
        message = f" “{answer.message}”" if answer.message != answer.code else ""
        retry = f", `Retry-After: {answer.retry_after}`" if answer.retry_after else ""
        always = ", also with the rule off" if answer.always else ""
        captured = f" (captured: {answer.captured[0]} `{answer.captured[1]}`)" if answer.captured else ""
        line = f"{answer.status} `{answer.code}`{captured}{message}{retry}{always}"
        if line not in told:
            told.append(line)
    return "<br>".join(told) or "–"


def _rules() -> str:
    rows = [
        (
            str(rule.number),
            rule.trigger,
            _answers(rule),
            "; ".join(part for part in (rule.note, f"`{rule.setting}`" if rule.setting else "") if part) or "–",
            ", ".join(f"`{module}`" for module in where()[rule.number]),
            rule.source,
        )
        for rule in RULES
    ]
    return _table(("#", "when", "answer", "note, setting", "where", "source"), rows)


def _operations() -> str:
    classes: dict[str, list[str]] = {"A": [], "B": [], "": []}
    for operation in operations():
        if operation.served and operation.name not in classes[operation.billing]:
            classes[operation.billing].append(operation.name)
    names = {"A": "class A", "B": "class B", "": "free"}
    rows = [(names[billing], ", ".join(sorted(found))) for billing, found in classes.items()]
    missing = sorted({operation.name for operation in operations() if not operation.served})
    return _table(("billing", "operations"), [*rows, ("501 not implemented", ", ".join(missing))])


def rules_page() -> str:
    """The text of ``docs/standins/r2-rules.md``."""
    return f"""# The R2 stand-in: rules, operations, gaps

`python -m parity.r2 docs` writes this page from the tables of `src/parity/r2`. How to use the stand-in:
[r2.md](r2.md).

## Rules

Each rule is a difference between R2 and S3, moto or MinIO. `PARITY_R2_RULES_OFF=16,34` switches rules 16 and 34 off;
the tests run each rule on and off. “Where” is the module of `src/parity/r2` that applies the rule. Errors are
`<Error><Code>…</Code><Message>…</Message></Error>` without a namespace; HEAD and 304 have no body.

{_rules()}
## Operations

{_operations()}
## What it does not reproduce

{_table(("R2", "stand-in", "checked on"), [(gap.what, gap.here, gap.since) for gap in GAPS])}
## Where stores differ

{_table(("store", "difference"), list(STORE_DIFFERENCES))}
## Where sources disagree

These facts were not verified against R2 itself. Miniflare's simulator of its S3 endpoint (4.20260730.0) has responses
that were captured from a real bucket on 2026-06-11; `tests/parity/r2/test_miniflare.py` compares them with those of the
stand-in. The simulator is a source only for the operations that it implements.

{_table(("subject", "the stand-in's choice, and why"), list(DISAGREEMENTS))}
## R2's documentation, page by page

Read on {READ} in the repository cloudflare-docs, under `r2/`. Numbers in parentheses are rules.

{_table(("page", "facts used from it"), [(f"`{page}`", taken) for page, taken in PAGES.items()])}"""


SECTIONS = {"faults": lambda: ", ".join(f"`{field}`" for field in FIELDS) + "\n"}


def render(page: str) -> str:
    """``page`` with its marked sections generated again. Raises ``KeyError`` for an unknown section."""
    return _SECTION.sub(lambda found: f"{found[1]}{SECTIONS[found[2]]()}{found[3]}", page)


def pages(root: Path) -> dict[Path, str]:
    """Each page and the text that it should have."""
    folder = root / "docs" / "standins"
    return {
        folder / "r2.md": render((folder / "r2.md").read_text("utf-8")),
        folder / "r2-rules.md": rules_page(),
    }


def write(root: Path) -> None:
    for path, text in pages(root).items():
        path.write_text(text, "utf-8")
