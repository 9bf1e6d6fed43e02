"""What a run found, as one HTML page that needs nothing beside it."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

from parity.report.findings import Finding, Findings, Verdict, counted

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.4rem;margin:0 0 .3rem}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}
p.sum{font-size:1.1rem;margin:.2rem 0 1rem}
table{border-collapse:collapse;width:100%;table-layout:fixed}
th:nth-child(1){width:6.5rem}th:nth-child(2){width:7rem}th:nth-child(4){width:5rem}
th,td{text-align:left;vertical-align:top;padding:.45rem .6rem;border-bottom:1px solid #ddd}
td.t{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}td.v{white-space:nowrap}
td p{margin:.25rem 0 0}td pre{margin:.25rem 0 0;white-space:pre-wrap;overflow-wrap:anywhere;font-size:.85rem}
small{color:#555}code{font-size:.92em;overflow-wrap:anywhere}
.good{color:#0a6b2d}.bad{color:#b00020;font-weight:600}.open{color:#8a5a00}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem}dt{color:#555}dd{margin:0;overflow-wrap:anywhere}
@media (prefers-color-scheme:dark){
body{background:#16181c;color:#e4e4e4}th,td{border-color:#3a3d44}small,dt{color:#a5a9b0}
.good{color:#63d18b}.bad{color:#ff7b86}.open{color:#e0ae5a}}
"""
_GOOD = (Verdict.PASSED, Verdict.CAUGHT)
_BAD = (Verdict.FAILED, Verdict.NOT_CAUGHT, Verdict.ERROR, Verdict.VOID)
# In which order people want to read them.
SECTIONS = (
    ("What does not hold", (Verdict.FAILED,)),
    ("Broken variants that were not caught", (Verdict.NOT_CAUGHT,)),
    ("No answer: the harness or the stack failed", (Verdict.ERROR, Verdict.VOID)),
    ("Not judged: what they rest on does not hold", (Verdict.NOT_JUDGED,)),
    ("What holds", _GOOD),
    ("Cannot be shown here", (Verdict.NOT_SHOWN,)),
    ("Not declared", (Verdict.NOT_DECLARED,)),
)


def html_page(findings: Findings) -> str:
    """The whole page. Everything that came from outside is escaped."""
    bad = bool(findings.of(*_BAD, Verdict.NOT_JUDGED))
    began = datetime.fromtimestamp(findings.began, UTC).isoformat(timespec="seconds")
    facts = {
        "target": f"{findings.target} ({findings.driver})",
        "address": findings.api,
        "began": began,
        "took": f"{findings.ended - findings.began:.0f} s",
    }
    not_run = sorted(set(findings.known) - {one.name for one in findings.found})
    if not_run:
        facts["did not end"] = ", ".join(not_run)
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    sections = "".join(_section(title, findings.of(*verdicts)) for title, verdicts in SECTIONS)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>parity: {escape(findings.target)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>Parity checks: {escape(findings.target)}</h1><p class="sum {"bad" if bad else "good"}">'
        f"{escape(counted(one.verdict for one in findings.found)) or 'no check ran'}</p>"
        f"<dl>{listed}</dl>{sections}</body></html>\n"
    )


def _section(title: str, found: list[Finding]) -> str:
    if not found:
        return ""
    head = "<table><thead><tr><th>verdict</th><th>class</th><th>check</th><th>time</th></tr></thead><tbody>"
    return f"<h2>{escape(title)} ({len(found)})</h2>{head}{''.join(_row(one) for one in found)}</tbody></table>"


def _row(one: Finding) -> str:
    kind = "good" if one.verdict in _GOOD else "bad" if one.verdict in _BAD else "open"
    what = f"<code>{escape(one.name)}</code> {'proof of: ' if one.proof else ''}{escape(one.title)}"
    details = [f"<pre>{escape(one.reason)}</pre>"] if one.reason else []
    if one.next_step:
        details.append(f"<p>To do: {escape(one.next_step)}</p>")
    if one.proof:
        details.append(f"<p><small>broken by <code>{escape(one.broken)}</code></small></p>")
    elif one.unproven:
        details.append(f"<p><small>without a broken variant: {escape(one.unproven)}</small></p>")
    if one.evidence:
        details.append(f"<p><small>evidence: <code>{escape(one.evidence)}</code></small></p>")
    topic = f"{escape(one.kind)} <small>{escape(one.topic)}</small>"
    return (
        f'<tr><td class="v {kind}">{escape(one.verdict)}</td><td>{topic}</td>'
        f'<td>{what}{"".join(details)}</td><td class="t">{one.seconds:.1f} s</td></tr>'
    )
