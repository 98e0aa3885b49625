"""A prediction's way back as a tree, and what its inputs contributed as a sum, that a person can read."""

from collections.abc import Iterable
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.tree import Tree


def tree(told: dict[str, Any]) -> Tree:
    """The answer at the root, what it stands on below it, and at the end what is missing."""
    asked = told["prediction"]
    root = Tree(f"[bold]prediction {asked['prediction_id']}[/bold]")
    _add(root, "answer", _answer(asked))
    _add(root, "asked", [f"{asked['asked_at']} by {_pairs(asked['entities'] | asked['request'])}"])
    features = root.add("features")
    for view in told["features"]:
        _add(features, _view(view), [_pairs(view["values"])])
    _add(root, f"model {asked['model']} version {asked['version']}", _model(told))
    _add(root, "champion then", _champion(asked, told["champion_then"]))
    _add(
        root,
        f"batches new to its training ({len(told.get('batches', []))})",
        map(_batch, told.get("batches", [])),
    )
    _add(root, "MISSING" if told["missing"] else "nothing is missing", told["missing"], "red")
    return root


def sums(told: dict[str, Any]) -> Table:
    """An answer as a sum: the mean answer, what each input contributed, largest first, and what that is."""
    table = Table(
        "input",
        "contribution",
        "standard error",
        title=f"{told['of']} by {told['model']} version {told['version']}",
        caption=_how(told),
    )
    table.add_row(
        f"mean answer to {told['background_rows']} rows", f"{told['base']:.6g}", "", end_section=True
    )
    for each in told["contributions"]:
        error = "exact" if told["exact"] else f"{each['standard_error']:.2g}"
        table.add_row(escape(each["input"]), f"{each['contribution']:+.6g}", error)
    table.add_section()
    table.add_row("answer", f"{told['answer']:.6g}", "")
    return table


def _how(told: dict[str, Any]) -> str:
    worst = max(each["background_error"] for each in told["contributions"])
    return (
        f"{told['method']}; {told['evaluations']:,} mixed rows. With other rows to compare with, numbers would differ "
        f"by a standard error of up to {worst:.2g}"
    )


def _add(parent: Tree, name: str, lines: Iterable[str], style: str = "") -> None:
    branch = parent.add(escape(name), style=style)
    for line in lines:
        branch.add(escape(line))


def _answer(asked: dict[str, Any]) -> list[str]:
    if "probabilities" in asked:
        ranked = sorted(asked["probabilities"].items(), key=lambda each: -each[1])
        rest = ", ".join(f"{name} {chance:.4f}" for name, chance in ranked[1:6])
        more = f" and {len(ranked) - 6} more" if len(ranked) > 6 else ""
        return [f"{asked['prediction']} at {asked['answer']:.4f}, against {rest}{more}"]
    if asked["threshold"] is None:
        return [f"{asked['answer']:.6g}"]
    decided = "yes" if asked["positive"] else "no"
    return [f"{asked['answer']:.4f}, so {decided} at the threshold {asked['threshold']}"]


def _view(view: dict[str, Any]) -> str:
    if "as_of" not in view:
        return f"{view['view']}: how far it had come is not known"
    rest = {name: value for name, value in view.items() if name not in ("view", "values", "as_of", "version")}
    said = f"{view['view']}@v{view.get('version')} as of {view['as_of']}"
    return f"{said}, {_pairs(rest)}" if rest else said


def _model(told: dict[str, Any]) -> list[str]:
    if "version" not in told:
        return []
    version, training, rows = told["version"], told["training"], told["training_set"]
    return [
        f"file {version['digest'][:12]}, knows what was known at {version['as_of']}",
        *_licence(told["licence"]),
        *(
            f"{each['action']} by {each['who']} at {each['at']}: {each['why']}"
            for each in told["approvals"] or ()
        ),
        *_gate(told["gate"]),
        f"trained because of {'; '.join(r['cause'] + ': ' + r['detail'] for r in training['reasons']) or '?'}",
        f"woken by {training['woken_by']}, forced: {training['forced']}",
        f"training set {str(rows['digest'])[:12]} in {rows['path']}",
        f"code {training.get('git_commit')}, uncommitted: {training.get('uncommitted') or 'nothing'}",
        f"environment {str(training.get('lock_digest'))[:12]}: {_pairs(training['libraries'])}",
    ]


def _licence(licence: dict[str, Any] | None) -> list[str]:
    if licence is None:
        return ["no licence"]
    why = f": {licence['why']}" if licence["why"] else ""
    return [f"licence {licence['decision']} by {licence['by']} at {licence['at']}{why}"]


def _gate(gate: dict[str, Any] | None) -> list[str]:
    if gate is None:
        return ["no decision record"]
    because = f" because of {', '.join(gate['because'])}" if gate["because"] else ""
    against = f"version {gate['champion_then']}" if gate["champion_then"] else "no champion"
    said = (
        f"gate {gate['decision']}{because} on {gate['rows']:,} rows against {against} at {gate['judged_at']}"
    )
    return [said, f"decision record {gate['record'][:12]} in {gate['path']}"]


def _champion(asked: dict[str, Any], tenure: dict[str, Any] | None) -> list[str]:
    if tenure is None:
        return []
    itself = (
        " (the one that answered)" if tenure["version"] == asked["version"] else " (ANOTHER one answered)"
    )
    until = tenure["until"] or "now"
    said = f"version {tenure['version']}{itself}, from {tenure['since']} until {until}"
    return [said, f"{tenure['action']} by {tenure['who']}, {tenure['decision']}: {tenure['why']}"]


def _batch(batch: dict[str, Any]) -> str:
    return (
        f"{batch['name']} ({batch['digest'][:12]}), {batch['silver']:,} rows, {batch['path'] or 'bytes gone'}"
    )


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
