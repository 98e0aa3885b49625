"""How the command line shows each answer to a person."""

from collections.abc import Iterable
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipelines.catalog.gate_spec import METRICS

COLOURS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}
WORST, CHALLENGER = 5, " (challenger)"
"""So many slices are shown; what stands behind a version that was not champion then."""


def grid(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> Table:
    """A table whose cells show what they hold, whatever brackets are in it."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(
            *(cell if isinstance(cell, str) and cell.startswith("[") else escape(_text(cell)) for cell in row)
        )
    return table


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else str(value)


def ingested(results: list[dict[str, Any]]) -> Any:
    """A line per file: where its rows went, and why one was refused."""
    if not results:
        return "Nothing new has landed."
    return Text("\n".join(_fate(r) for r in results))


def _fate(result: dict[str, Any]) -> str:
    rows = ", ".join(f"{result[k]:,} {k}" for k in ("silver", "quarantined", "superseded"))
    why = f"; {result['reason']}" if result["reason"] else ""
    return f"{result['name']}: {result['state']}, {result['parsed']:,} rows = {rows}{why}"


def computed(run: dict[str, Any]) -> Any:
    waiting = "".join(f"\n{view} is {why}" for view, why in run["waiting"].items())
    if not run["rows"]:
        return f"Features were up to date as of {run['as_of']}.{waiting}"
    rows = ([view, count, run["versions"].get(view)] for view, count in run["rows"].items())
    return grid(f"Features as of {run['as_of']}", ["view", "rows computed", "table version"], rows)


def trained(answer: dict[str, Any]) -> Any:
    candidate, rows = answer["candidate"], answer["training_set"]
    positive = rows["positives"]
    facts = [
        ["version", f"{candidate['model']} {candidate['version']}"],
        ["as of", candidate["as_of"]],
        ["trained on", f"{rows['rows']:,} rows" + ("" if positive is None else f", {positive:,} positive")],
        ["held out", f"{rows['holdout_rows']:,} rows from {rows['holdout_start']}"],
        ["model digest", candidate["digest"]],
        ["MLflow run", candidate["run_id"]],
    ]
    return grid("Candidate", ["", ""], facts)


def verdict(decision: str) -> str:
    return f"[bold {COLOURS.get(decision, 'white')}]{decision}[/]"


def judged(answer: dict[str, Any]) -> Any:
    rules = ([r["name"], verdict(r["decision"]), r["explanation"]] for r in answer["rules"])
    return Group(
        grid(
            f"Gate: {answer['model']} {answer['version']} is {answer['decision']}", ["rule", "", "why"], rules
        ),
        scores(answer["metrics"]),
    )


def scores(metrics: dict[str, dict[str, float]]) -> Table:
    names = [name for name in METRICS if any(name in values for values in metrics.values())]
    rows = ([name, *(values.get(name) for values in metrics.values())] for name in names)
    return grid("On identical held-out rows", ["", *metrics], rows)


def measured(answer: dict[str, Any]) -> Any:
    title = (
        f"{answer['model']} {answer['version']} (knew nothing after {answer['as_of']}) on {answer['month']}"
    )
    return Group(f"[bold]{title}: {answer['rows']:,} rows[/bold]", scores(answer["metrics"]))


def promoted(answer: dict[str, Any]) -> Any:
    now, before = answer["champion_version"], answer["previous_version"]
    return f"Champion: version {now} (before: {before}). {answer['reason']}"


def watched(report: dict[str, Any]) -> Any:
    worst = sorted(report["columns"].items(), key=lambda item: item[1], reverse=True)[:10]
    said = "drifted" if report["drifted"] else "not drifted"
    gone = [f"[red]{name} vanished[/]: {why}" for name, why in report["vanished"].items()]
    return Group(
        *gone,
        f"As of {report['as_of']}: {said}; {report['drift_share']:.0%} of the columns moved.",
        *(escape(report[name]["explanation"]) for name in ("decay", "given") if report[name]),
        f"Report: {report['html']}",
        grid("The champion on arrived truth", ["metric", "value"], report["metrics"].items()),
        grid("Columns that moved most", ["column", "drift"], worst),
    )


def predicted(answer: dict[str, Any]) -> Any:
    missing = answer.get("missing_features", [])
    shown = answer | {
        "missing_features": f"{len(missing)}: {', '.join(missing[:3])} ..." if missing else "none"
    }
    return grid("Prediction", ["", ""], shown.items())


def scored(done: dict[str, Any]) -> Any:
    became = "added to" if done["new"] else "known already, in"
    rows = [
        (f"{done['answered']:,} of {done['rows']:,} rows", f"answered by version {done['version']}"),
        (f"{done['degraded']:,} of them", "without features that are what they should be"),
        (became, done["table"]),
    ]
    return grid(f"{done['file']}, asked of {done['model']}", ["", ""], rows)


def performed(found: dict[str, Any]) -> Any:
    """A row of each day and version, the newest last, then the worst slices; the page has all of it as pictures."""
    heads = ["day", "v", "answers", "truth", "pending", found["metric"], "expected"]
    rows = [
        (
            p["day"], _version(p), f"{p['answers']:,}", f"{p['known']:,}", f"{p['pending']:,}",
            _interval(p), _figure(p["expected"]) + "*" * (p["basis"] == "nothing" and p["expected"] is not None),
        )
        for p in found["periods"]
    ]  # fmt: skip
    days = grid(f"{found['model']} over time", heads, rows)
    told = [each for each in found["slices"] if each["known"] >= found["enough"]][:WORST]
    parts = [
        (each["name"], f"{each['known']:,}", _interval(each), _figure(each["expected"])) for each in told
    ]
    worst = [grid("The worst slices", ["slice", "truth", found["metric"], "expected"], parts)] if told else []
    track = found["track"]
    off = (
        f"expected was {_figure(track['error'])} off on average over {track['days']:,} days, and the probabilities as"
        f" they are {_figure(track['claimed'])}; * not calibrated. It does not see concept drift"
    )
    measured = track["days"] and track["error"] is not None
    return Group(days, *worst, *([off] if measured else []), f"The picture: {found['page']}")


def _version(period: dict[str, Any]) -> str:
    return f"{period['version']}{CHALLENGER if period['arm'] != 'champion' else ''}"


def _interval(figures: dict[str, Any]) -> str:
    reach = "" if figures["low"] is None else f" ({figures['low']:.3g}, {figures['high']:.3g})"
    return _figure(figures["metric"]) + reach


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def examined(findings: list[dict[str, Any]]) -> Any:
    rows = ([("[green]ok[/]" if f["ok"] else "[red]mend[/]"), f["check"], f["detail"]] for f in findings)
    return grid("Doctor", ["", "check", "detail"], rows)


def summary(state: dict[str, Any]) -> Any:
    """The whole loop on one screen."""
    parts: list[Any] = [
        _landed(state["datasets"]),
        *_refused(state["datasets"], state["strays"]),
        _features(state["features"]),
    ]
    for name, model in state["models"].items():
        parts.extend(_model(name, model))
    return Group(*parts, grid("Pages", ["", ""], state["pages"].items()))


def _landed(datasets: dict[str, Any]) -> Table:
    columns = ["dataset", "files", "silver", "quarantine", "superseded", "refused", "known until"]
    rows = (
        [
            n,
            d["files"],
            d["silver"],
            d["quarantined"],
            d["superseded"],
            len(d["refused"]),
            _minute(d["known_until"]),
        ]
        for n, d in datasets.items()
    )
    return grid("Landed: files, rows by where they went, files refused", columns, rows)


def _minute(moment: str | None) -> str:
    return (moment or "")[:16].replace("T", " ")


def _refused(datasets: dict[str, Any], strays: list[str]) -> list[Any]:
    """What waits for a person: held files and rows, entries never opened, files that no dataset claims."""
    rows = [[n, r["file"], r["reason"]] for n, d in datasets.items() for r in d["refused"]]
    rows += [
        [n, p["file"], f"{p['rows']} rows quarantined"] for n, d in datasets.items() for p in d["partly"]
    ]
    rows += [
        [n, u["file"], f"never opened: {u['reason']}"] for n, d in datasets.items() for u in d["unopened"]
    ]
    rows += [["", name, "no dataset's pattern matches its name"] for name in strays]
    title = "Held back; `evergreen quarantine list` says more"
    return [grid(title, ["dataset", "file", "reason"], rows)] if rows else []


def _features(features: dict[str, Any]) -> Table:
    rows = (
        [name, view["rows"], _minute(view["known_until"]), ", ".join(view["models"])]
        for name, view in features.items()
    )
    return grid("Features", ["view", "rows", "known until", "used by"], rows)


def _model(name: str, model: dict[str, Any]) -> list[Any]:
    champion, record = model["champion"], model["champion_verdict"]
    lost = [f"[red]{escape(said)}[/]" for said in model["missing"]]
    if champion is None:
        parts: list[Any] = [f"[bold]{name}[/bold] has no champion{'' if lost else ' yet'}."]
    else:
        who = f"{name}: champion is version {champion['version']}"
        parts = [f"[bold]{who}[/bold], trained as of {champion['as_of']}"]
        parts += [escape(f"{name} {text}") for name, text in _overridden(champion["override"])]
    parts += lost
    if record:
        parts.append(scores(record["metrics"]))
    newest = model["newest_verdict"]
    if newest:
        parts.append(f"Newest verdict: version {newest['version']} {verdict(newest['decision'])}")
    if model["drift"]:
        drift = model["drift"]
        said = "drifted" if drift["drifted"] else "not drifted"
        parts.append(
            f"Drift as of {drift['as_of']}: {said} ({drift['drift_share']:.0%} of columns); {drift['html']}"
        )
    parts.append(f"Predictions answered and logged: {model['predictions']:,}")
    return parts


def story(told: dict[str, Any]) -> Any:
    """A version's life for a person on call: why, on what, how it was judged, what became of it, what waits."""
    trained, gate = told["trained"], told["gate"]
    title = f"{told['model']} version {told['version']}"
    facts = [
        [
            "trained",
            f"{_minute(trained['at'])} UTC, as of {_minute(trained['as_of'])} UTC, commit {trained['commit'][:12]}",
        ],
        ["woken by", trained["woken_by"] + (" (forced)" if trained["forced"] else "")],
        ["reasons", _lines(f"{r['cause']}: {r['detail']}" for r in trained["reasons"])],
        ["policy", ", ".join(f"{name} {value}" for name, value in trained["policy"].items())],
        ["held back", _lines(trained["waited"]) or "nothing"],
        ["gate", f"{gate['decision'] or 'no verdict'}: {gate['explanation']}"],
        *_overridden(told["override"]),
        *([["rollout", _lines(map(_rolled_out, told["rollout"]))]] if told["rollout"] else []),
        ["champion", _tenure(told)],
        *(
            [["asked again", _lines(f"{_minute(a['at'])} by {a['woken_by']}" for a in told["asked_again"])]]
            if told["asked_again"]
            else []
        ),
        ["waiting now", _pending(told["next"])],
    ]
    rules = ([r["name"], verdict(r["decision"]), r["explanation"]] for r in gate["rules"])
    return Group(
        grid(title, ["", ""], facts), _consumed(told["batches"]), grid("Gate", ["rule", "", "why"], rules)
    )


def _rolled_out(step: dict[str, Any]) -> str:
    done = {
        "roll_out": "asked beside",
        "advance": f"step {step['step']} beside",
        "take_back": "taken back from beside",
        "rolled_out": "replaces",
    }[step["what"]]
    return f"{_minute(step['at'])} {done} version {step['champion']}: {step['because']}"


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _lines(parts: Iterable[str]) -> str:
    return "\n".join(parts)


def _consumed(batches: list[dict[str, Any]]) -> Table:
    columns = ["file", "rows", "quarantined", "superseded", "outcomes known from", "to", "digest"]
    rows = (
        [
            b["name"],
            b["silver"],
            b["quarantined"],
            b["superseded"],
            _minute(b["first_known"]),
            _minute(b["last_known"]),
            b["digest"][:12],
        ]
        for b in batches
    )
    return grid(f"New to it: {_count(len(batches), 'file')}", columns, rows)


def _overridden(said: dict[str, Any] | None) -> list[list[str]]:
    """A line for what a person let through in spite of its gate."""
    if said is None:
        return []
    at = f", {_minute(said['at'])} UTC" if said["at"] else ""
    return [["OVERRIDDEN", f"by {said['by']}{at}: {said['why']}"]]


def _tenure(told: dict[str, Any]) -> str:
    tenure = told["tenure"]
    if tenure["since"] is None:
        return "now, since when is not recorded" if told["is_champion"] else "never"
    before = f"replaced version {tenure['replaced']}" if tenure["replaced"] else "the first"
    said = f"since {_minute(tenure['since'])} UTC, {before}; {tenure['because']} ({tenure['by']})"
    if told["is_champion"]:
        return said
    heir = (
        f" to {_minute(tenure['until'])} UTC, replaced by version {tenure['replaced_by']}"
        if tenure["replaced_by"]
        else ""
    )
    return said + (heir or "; no longer")


def _pending(coming: dict[str, Any]) -> str:
    parts = (
        [f"{_count(coming['rows'], 'new label')} in {_count(coming['batches'], 'file')}"]
        if coming["batches"]
        else []
    )
    parts += [f"{s['cause']} of version {s['version']}: {s['detail']}" for s in coming["signals"]]
    parts += [coming["code"]] if coming["code"] else []
    parts += [
        f"held back until {_minute(w['until'])} UTC by {w['policy']}: {w['detail']}" for w in coming["waits"]
    ]
    return _lines(parts) or "nothing"
