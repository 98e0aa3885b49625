"""`evergreen features`: what there is, how it is computed, and how it is doing."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table

from pipelines.cli.output import AsJson, explained, progress, settings, show
from pipelines.contracts import EvergreenError, as_json
from pipelines.stores import Stores

app = typer.Typer(invoke_without_command=True, help=__doc__)

AsOf = Annotated[str | None, typer.Option(help="the moment whose knowledge counts; default: all that landed")]


@app.callback()
def features(context: typer.Context, as_json_text: AsJson = False) -> None:
    """List the feature views: owner, entities, who uses them, and the files they come from."""
    if context.invoked_subcommand is None:
        from pipelines.record.lineage import facts

        with explained():
            show(facts(Stores(settings())), as_json_text, _listed)


def _listed(views: list[dict[str, Any]]) -> Table:
    table = Table(title="Feature views", title_justify="left", show_lines=True)
    for name in ("view", "what", "lineage"):
        table.add_column(name, overflow="fold")
    for view in views:
        keys, count = ", ".join(view["entities"]), len(view["features"])
        what = f"{view['description']}\n{count} features by {keys}, TTL {view['ttl']}\nowner: {view['owner']}"
        table.add_row(f"{view['name']}\nv{view['version']}", what, _lineage(view))
    return table


def _lineage(view: dict[str, Any]) -> str:
    sources = (f"{s['dataset']}: {s['files']} files, the last {s['newest']}" for s in view["sources"])
    trained = view["model_versions"]
    known = [f"{len(trained)} model versions, the newest {trained[0]}"] if trained else []
    users = ", ".join([*view["models"], *known]) or "nobody"
    times = f"computed to {view['computed_to'] or 'never'}\nonline to {view['online_to'] or 'never'}"
    return "\n".join([*sources, f"used by {users}", times])


@app.command()
def compute(as_of: AsOf = None, as_json_text: AsJson = False) -> None:
    """Compute the feature tables and bring the newest values online."""
    from pipelines.cli.tables import computed
    from pipelines.loop.steps import all_computed
    from pipelines.loop.steps import features as run

    with explained():
        done = run(as_of, progress)
        show(done, as_json_text, computed)
        all_computed(done)


@app.command()
def health(
    view: Annotated[
        str | None, typer.Argument(help="one view, with each of its features; all if left out")
    ] = None,
    as_json_text: AsJson = False,
) -> None:
    """How fresh, full and costly each view is, and which checks failed when it was computed."""
    from pipelines.cli.tables import grid
    from pipelines.features.health import overview

    def table(rows: list[dict[str, Any]]) -> Any:
        if not rows:
            return "Nothing was computed yet; run `evergreen features compute`."
        names = [name for name in rows[0] if name not in HIDDEN]
        return grid("Feature health", names, ([_short(row[name]) for name in names] for row in rows))

    with explained():
        show(overview(Stores(settings()), view), as_json_text, table)


class Step(StrEnum):
    DAY, WEEK, MONTH = "day", "week", "month"


STEPS = {Step.DAY: timedelta(days=1), Step.WEEK: timedelta(days=7), Step.MONTH: timedelta(days=31)}


@app.command()
def backfill(
    start: Annotated[str, typer.Option("--from", help="first day, such as 2013-01-01")],
    end: Annotated[str, typer.Option("--to", help="up to the start of this day")],
    view: Annotated[list[str] | None, typer.Option(help="a view; may be given again; default: all")] = None,
    step: Annotated[Step, typer.Option(help="how much is computed and committed at once")] = Step.WEEK,
    as_json_text: AsJson = False,
) -> None:
    """Compute a stretch of time anew. Stopped, the same command goes on where it was."""
    from pipelines.cli.tables import computed
    from pipelines.features.compute import backfill as run
    from pipelines.loop.costs.measured import measured
    from pipelines.stores.watching.costs import VIEWS

    with explained():
        stores = Stores(settings())
        names = [stores.features.version(name).view for name in view or stores.features.current]
        window = (_day(start), _day(end))
        if window[0] >= window[1]:
            raise EvergreenError(f"--from {start} is not before --to {end}")
        with measured("features", VIEWS, "") as running:
            running.answer = done = as_json(run(names, window, STEPS[step], stores, progress))
        show(done, as_json_text, computed)


HIDDEN = {"version", "bytes", "total", "checks", "p01", "p25", "p75", "p99", "std", "distinct"}
"""Left to --json: a terminal is narrow."""


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _day(text: str) -> datetime:
    try:
        return datetime.fromisoformat(f"{text}T00:00:00+00:00")
    except ValueError:
        raise EvergreenError(f"{text!r} is not a day such as 2013-01-31") from None


def impact(
    target: Annotated[str, typer.Argument(help="feature:VIEW, feature:VIEW:FEATURE or dataset:NAME")],
    as_json_text: AsJson = False,
) -> None:
    """Which models, versions and endpoints break without a feature, a view or a dataset."""
    from pipelines.record.lineage import impact as run

    with explained():
        show(run(target, Stores(settings())), as_json_text, _broken)


def _broken(found: list[dict[str, Any]]) -> Any:
    if not found:
        return "Nothing depends on it."
    table = Table(title="Breaks without it", title_justify="left")
    for name in ("kind", "name", "why"):
        table.add_column(name, overflow="fold")
    for row in found:
        table.add_row(row["kind"], row["name"], row["why"])
    return table


def parity(
    model: Annotated[str, typer.Argument(help="a model of the catalog")],
    last: Annotated[int, typer.Option(min=1, help="so many of the newest predictions")] = 1000,
    as_json_text: AsJson = False,
) -> None:
    """Recompute offline the features that serving logged, and name every difference."""
    from pipelines.catalog import model as spec_of
    from pipelines.features.parity import parity as run

    with explained():
        spec, stores = spec_of(model), Stores(settings())
        found = run(spec, stores.predictions.recent(model, last), stores)
        show(found, as_json_text, _compared)
    for difference in [d for view in found for d in view.examples]:
        progress(str(difference))
    if any(view.differences for view in found):
        raise typer.Exit(1)


def _compared(found: list[dict[str, Any]]) -> Any:
    if not found:
        return "No prediction is logged yet."
    table = Table(title="What serving had, against the offline store", title_justify="left")
    for name in ("view", "look-ups", "values", "differences", "late", "unexplained"):
        table.add_column(name)
    for row in found:
        table.add_row(
            *(str(row[n]) for n in ("view", "lookups", "values", "differences", "late", "unexplained"))
        )
    return table
