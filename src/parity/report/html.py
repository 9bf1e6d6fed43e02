"""Results as one HTML page that needs nothing beside it."""

from __future__ import annotations

from html import escape

from parity.report.results import Result, Run
from parity.report.terminal import proof_lines, summary_line

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.4rem;margin:0 0 .3rem}p.sum{font-size:1.1rem;margin:.2rem 0 1rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.45rem .6rem;border-bottom:1px solid #ddd}
td.t{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}td.c{text-align:center}
ul{margin:.2rem 0 0;padding-left:1.1rem}small{color:#555}code{font-size:.92em}
.passed{color:#0a6b2d}.failed,.error{color:#b00020;font-weight:600}.skipped{color:#8a5a00}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem}dt{color:#555}dd{margin:0;overflow-wrap:anywhere}
@media (prefers-color-scheme:dark){
body{background:#16181c;color:#e4e4e4}th,td{border-color:#3a3d44}small,dt{color:#a5a9b0}
.passed{color:#63d18b}.failed,.error{color:#ff7b86}.skipped{color:#e0ae5a}}
"""


def html_page(run: Run) -> str:
    """The whole page. Everything that came from outside is escaped."""
    facts = {"target": run.target, "driver": run.driver, "started": run.started_at.isoformat(timespec="seconds")}
    left_out = sorted(set(run.known) - {result.id for result in run.results})
    if left_out:
        facts["not asked for"] = ", ".join(left_out)
    listed = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in {**facts, **run.tools}.items())
    rows = "".join(_row(result) for result in run.results)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>parity: {escape(run.target)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>Parity checks: {escape(run.target)}</h1><p class="sum {"passed" if run.ok else "failed"}">'
        f"{escape(summary_line(run))}</p>"
        "<table><thead><tr><th>outcome</th><th>class</th><th>check</th><th>time</th></tr></thead>"
        f"<tbody>{rows}</tbody></table><h2>Run</h2><dl>{listed}</dl></body></html>\n"
    )


def _row(result: Result) -> str:
    items = [escape(reason) for reason in result.reasons]
    if result.proof is not None:
        text = escape(proof_lines(result.proof)[0].strip())
        items.append(
            f'<span class="failed">{text}</span>' if result.proof.caught is False else f"<small>{text}</small>"
        )
    if result.evidence is not None:
        items.append(f"<small>evidence: <code>{escape(str(result.evidence))}</code></small>")
    details = f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>" if items else ""
    return (
        f'<tr><td class="{result.outcome}">{result.outcome}</td><td class="c">{escape(result.capability)}</td>'
        f"<td><code>{escape(result.id)}</code> {escape(result.title)}{details}</td>"
        f'<td class="t">{result.seconds:.1f} s</td></tr>'
    )
