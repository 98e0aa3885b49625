"""The decision record as a page people read."""

from html import escape

from pipelines.contracts import Verdict

PAGE = """<!doctype html><meta charset=utf-8><title>{title}</title>
<style>
body {{ font: 15px sans-serif; margin: 2em; max-width: 60em }}
table {{ border-collapse: collapse; margin: 1em 0 }}
td, th {{ border: 1px solid #ccc; padding: .4em .7em; text-align: left }}
.pass {{ background: #eef6f0 }} .fail {{ background: #fbe9e7 }} .inconclusive {{ background: #fff8e1 }}
</style>
<h1>{title}</h1><p>{facts}</p>
<table><tr><th>rule</th><th></th><th>why</th></tr>{rules}</table>
<table><tr><th></th>{head}</tr>{body}</table>
"""


def page(verdict: Verdict) -> str:
    """The record as a page a person reads."""
    rules = "".join(
        f"<tr class={r.decision.value.lower()}><td>{escape(r.name)}</td><td>{r.decision.value}</td>"
        f"<td>{escape(r.explanation)}</td></tr>"
        for r in verdict.rules
    )
    names = ("roc_auc", "average_precision", "log_loss", "brier")
    head = "".join(f"<th>{n}</th>" for n in names)
    body = "".join(
        f"<tr><td>{who}</td>" + "".join(f"<td>{found.get(n, float('nan')):.4f}</td>" for n in names) + "</tr>"
        for who, found in verdict.metrics.items()
    )
    return PAGE.format(
        title=f"{escape(verdict.model)} {verdict.version}: {verdict.decision.value}",
        facts=f"As of {verdict.as_of.isoformat()}, on {verdict.rows:,} held-out rows; champion then: "
        f"{verdict.champion_version}. Model digest <code>{verdict.digest}</code>, training set "
        f"<code>{verdict.training_set}</code>.",
        rules=rules,
        head=head,
        body=body,
    )
