"""The decision record as a page people read: the verdict at a glance, then why, then everything it rests on."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from pipelines.catalog.gate_spec import METRICS
from pipelines.contracts import Decision, Rule, Verdict
from pipelines.gate.report import charts
from pipelines.gate.report.look import SIGNS, head, pill, section, table
from pipelines.stores.audit.licences import Licence

DARK = 55
"""Per cent of a class from which a cell is so dark that its count is written in the other colour."""
LONGEST = 12
"""So many columns are shown by importance."""


def page(verdict: Verdict, details: Mapping[str, Any] | None = None, licence: Licence | None = None) -> str:
    """The record as one self-contained page. `details` are what rules do not hold, a licence is who let it serve."""
    told = dict(details or {})
    title = f"{verdict.model} version {verdict.version}: {verdict.decision.value}"
    parts = [
        head(title),
        _override(verdict, licence),
        _banner(verdict),
        _facts(verdict, told),
        _in_the_way(verdict),
        *(_sections(verdict, told)),
        _bound_to(verdict, told, licence),
    ]
    return "".join(parts) + "</main>\n"


def kept(verdict: Verdict) -> list[Rule]:
    """The rules that kept a candidate from passing, those that failed first."""
    order = (Decision.FAIL, Decision.INCONCLUSIVE)
    return [rule for decision in order for rule in verdict.rules if rule.decision is decision]


def groups(rules: Iterable[Rule]) -> dict[str, list[Rule]]:
    """The rules by what they speak of, in the order of the page."""
    found: dict[str, list[Rule]] = {name: [] for name in (*_STARTS, "comparisons", "others")}
    for rule in rules:
        started = (name for name, starts in _STARTS.items() if rule.name.startswith(starts))
        compared = " than the " in rule.name and rule.name.endswith("'s")
        found[next(started, "comparisons" if compared else "others")].append(rule)
    return found


_STARTS: dict[str, tuple[str, ...]] = {
    "classes": ("class ",),
    "slices": ("slice ", "worst slice"),
    "calibration": ("calibration ",),
    "fairness": ("fairness of ",),
    "behaviour": ("behaviour: ",),
    "serving": ("serves",),
}


def _override(verdict: Verdict, licence: Licence | None) -> str:
    if licence is None or licence.decision == Decision.PASS.value:
        return ""
    return (
        f'<div class="override"><b>{escape(licence.decision)}</b> This version may serve although its gate said '
        f"{verdict.decision.value}. <b>{escape(licence.by)}</b> let it, {licence.at:%Y-%m-%d %H:%M} UTC: "
        f"“{escape(licence.why or 'no reason is on record')}”</div>"
    )


def _banner(verdict: Verdict) -> str:
    blocked, many = kept(verdict), len(verdict.rules)
    if not many:
        said = "No rule was tried, which decides nothing."
    elif not blocked:
        said = f"All {many} rules hold."
    else:
        failed = sum(rule.decision is Decision.FAIL for rule in blocked)
        open_ = len(blocked) - failed
        counts = [f"{failed} of {many} rules failed"] if failed else []
        counts += [f"{open_} of {many} cannot tell"] if open_ else []
        said = " and ".join(counts) + "."
    return (
        f'<header class="{verdict.decision.value.lower()}"><div class="sign" aria-hidden="true">'
        f"{SIGNS[verdict.decision]}</div><div><h1>{verdict.decision.value}</h1><p><b>{escape(verdict.model)}</b> "
        f"version {verdict.version}. {said}</p></div></header>"
    )


def _facts(verdict: Verdict, told: Mapping[str, Any]) -> str:
    tiles = {
        "held-out rows": f"{verdict.rows:,}",
        "data up to": f"{verdict.as_of:%Y-%m-%d %H:%M}",
        "judged": f"{verdict.judged_at:%Y-%m-%d %H:%M}",
        "by": str(told.get("by", "not recorded")),
        "champion then": str(verdict.champion_version or "none yet"),
    }
    inside = "".join(f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>" for name, text in tiles.items())
    return f'<dl class="tiles">{inside}</dl>'


def _in_the_way(verdict: Verdict) -> str:
    rows = "".join(
        f"<li>{pill(rule.decision)} <b>{escape(rule.name)}</b><br>{_soft(rule)}</li>"
        for rule in kept(verdict)
    )
    return section("What kept it from passing", f'<ul class="plain">{rows}</ul>') if rows else ""


def _sections(verdict: Verdict, told: Mapping[str, Any]) -> list[str]:
    found = groups(verdict.rules)
    return [
        _comparisons(found["comparisons"]),
        _metrics(verdict.metrics),
        _classes(found["classes"], told),
        _slices(found["slices"]),
        _calibration(found["calibration"], told),
        _fairness(found["fairness"], told),
        section("Behaviour", _plain(found["behaviour"], cut="behaviour: ")),
        section("Where it serves", _plain(found["serving"], cut="serves: ")),
        _importance(told),
        section("Bounds and facts", _plain(found["others"])),
    ]


def _comparisons(rules: Sequence[Rule]) -> str:
    """Each comparison with its interval on its own scale: to the right is better than the other."""
    shown = []
    for rule in rules:
        there = rule.low is not None and rule.high is not None
        drawn = charts.interval(rule, charts.span([rule])) if there else ""
        words = f"<b>{escape(rule.name)}</b> {pill(rule.decision)}{drawn}"
        shown.append(f'<div class="comparison">{words}<p class=soft>{escape(rule.explanation)}</p></div>')
    note = (
        "<p class=soft>Paired on identical rows; right is better, the shaded side does not pass.</p>"
        if any(rule.low is not None for rule in rules)
        else ""
    )
    return section("Against the others", note + "".join(shown)) if shown else ""


def _metrics(metrics: Mapping[str, Mapping[str, float]]) -> str:
    names = [name for name in METRICS if any(name in found for found in metrics.values())]
    if not names:
        return ""
    best = {n: (max if METRICS[n][1] else min)(f[n] for f in metrics.values() if n in f) for n in names}
    rows = [
        [
            f"<b>{escape(name)}</b>",
            *(_measured(found.get(name), best[name]) for found in metrics.values()),
            "more" if METRICS[name][1] else "less",
        ]
        for name in names
    ]
    return section("Metrics", table(["", *map(escape, metrics), "better is"], rows, numbers=len(metrics)))


def _measured(value: float | None, best: float) -> str:
    if value is None:
        return ""
    return f"<strong>{charts.number(value)}</strong>" if value == best else charts.number(value)


def _slices(rules: Sequence[Rule]) -> str:
    """A forest plot on one scale, then what is told in words."""
    drawn = [rule for rule in rules if rule.low is not None and rule.high is not None]
    scale = charts.span(drawn)
    rows = [
        [
            escape(rule.name.removeprefix("slice ")),
            f"{rule.rows:,}" if rule.rows else "",
            charts.number(rule.value),
            charts.interval(rule, scale, 20, ends=False),
            pill(rule.decision),
        ]
        for rule in drawn
    ]
    forest = table(["slice", "rows", "better by", "", ""], rows, numbers=2) if rows else ""
    return section("Slices", forest + _plain([r for r in rules if r not in drawn], cut="slice "))


def _calibration(rules: Sequence[Rule], told: Mapping[str, Any]) -> str:
    inside = _plain(rules, cut="calibration ")
    of_classes = (told.get("classes") or {}).get("calibration")
    if of_classes:
        return section("Calibration", inside + _small(of_classes))
    curves = told.get("calibration") or {}
    drawn = f'<div class="beside"><div>{charts.calibration(curves)}<p>{charts.legend(list(curves))}</p></div>'
    return section("Calibration", f"{drawn}<div>{inside}</div></div>" if curves else inside)


def _small(curves: Mapping[str, Mapping[str, Any]]) -> str:
    """A small drawing per class, each on its own scale."""
    drawn = "".join(
        f"<figure>{charts.calibration(found)}<figcaption>{escape(name)}</figcaption></figure>"
        for name, found in curves.items()
    )
    who = list(next(iter(curves.values())))
    note = "<p class=soft>Each class against the rest: predicted probability, and the share that was of the class.</p>"
    return f'{note}<p>{charts.legend(who)}</p><div class="small">{drawn}</div>'


def _classes(rules: Sequence[Rule], told: Mapping[str, Any]) -> str:
    """What every class is taken for, and whether enough of it is found."""
    found = told.get("classes")
    note = "<p class=soft>Held-out rows: down what they are, across what the candidate predicts.</p>"
    crossed = note + _confusion(found["names"], found["confusion"]) if found else ""
    return section("Classes", crossed + _plain(rules, cut="class "))


def _confusion(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """The counts, the darker the larger the share of a class."""
    rows = [
        [f"<b>{escape(name)}</b>", *(_shaded(count, sum(row), at == place) for at, count in enumerate(row))]
        for place, (name, row) in enumerate(zip(names, counts, strict=True))
    ]
    return table(["", *map(escape, names)], rows, numbers=len(names))


def _shaded(count: int, of: int, right: bool) -> str:
    share = 100 * count / of if of else 0
    colour = "var(--pass)" if right else "var(--fail)"
    dark = " dark" if share > DARK else ""
    return (
        f'<span class="cell{dark}" style="--shade:{share:.0f}%;--of:{colour}">{count:,}</span>'
        if count
        else "&middot;"
    )


def _fairness(rules: Sequence[Rule], told: Mapping[str, Any]) -> str:
    tables = "".join(_groups(found) for found in told.get("fairness") or ())
    return section("Fairness", _plain(rules, cut="fairness of ") + tables)


def _groups(found: Mapping[str, Any]) -> str:
    """The rates of each group; those too small to be judged are told of."""
    names = [n for n in (found["groups"] or [{}])[0] if n not in ("group", "rows", "judged")]
    rows = [
        [
            escape(str(each["group"]))
            + ("" if each["judged"] else " <span class=soft>(too small to judge)</span>"),
            f"{each['rows']:,}",
            *(charts.number(each[name]) for name in names),
        ]
        for each in found["groups"]
    ]
    above = [escape(found["group"]), "rows", *(escape(name.replace("_", " ")) for name in names)]
    return table(above, rows, numbers=1 + len(names))


def _importance(told: Mapping[str, Any]) -> str:
    found = told.get("importance") or {}
    most = {c["name"]: (c["mean"], c["spread"]) for c in (found.get("columns") or [])[:LONGEST]}
    note = (
        f"<p class=soft>How much {escape(str(found.get('loss')))} grows on {found.get('rows', 0):,} held-out rows when "
        "a column is shuffled. Columns that say the same share their importance.</p>"
    )
    return section("What it goes by", note + charts.bars(most)) if most else ""


def _plain(rules: Sequence[Rule], cut: str = "") -> str:
    rows = [
        [
            escape(rule.name.removeprefix(cut)),
            pill(rule.decision),
            _soft(rule),
        ]
        for rule in rules
    ]
    return table(["", "", ""], rows) if rows else ""


def _soft(rule: Rule) -> str:
    return f"<span class=soft>{escape(rule.explanation)}</span>"


def _bound_to(verdict: Verdict, told: Mapping[str, Any], licence: Licence | None) -> str:
    """What this verdict is on; for anything else it says nothing."""
    things: dict[str, Any] = {
        "model file": verdict.digest,
        "training set": verdict.training_set,
        "evidence": verdict.evidence,
        "spec": verdict.spec_digest,
        "code": verdict.code,
        "environment": verdict.environment,
        "champion's file": verdict.champion_digest,
        "anchor": verdict.anchor_version,
        "held-out rows": told.get("held_out"),
        "may serve": licence and f"{licence.decision} by {licence.by}, {licence.at:%Y-%m-%d %H:%M} UTC",
    }
    rows = [[name, f"<code>{escape(str(thing))}</code>"] for name, thing in things.items() if thing]
    return section("Bound to", table(["", ""], rows))
