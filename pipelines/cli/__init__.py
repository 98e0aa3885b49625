"""`evergreen`: every stage without Airflow, and the questions people ask.

Exit codes: 0 done, 1 something a person must mend, 2 a wrong command line, 3 the gate did not pass,
4 files or rows were refused, 5 nothing to do.
"""

import json
import sys
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipelines.catalog import REFERENCE
from pipelines.cli import alerts, audit, costs, features, keys, metrics, prove, quarantine, schema
from pipelines.cli.deployment import backup, erase
from pipelines.cli.models import diff, drift, own, record, rollout, scorecard, search, site, versions
from pipelines.cli.output import GATE, MENDED, REFUSED, AsJson, console, explained, settings, show
from pipelines.contracts import EvergreenError
from pipelines.stores import Stores

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
app.add_typer(prove.app, name="prove")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(schema.app, name="schema")
app.add_typer(features.app, name="features")
app.add_typer(audit.app, name="audit")
app.add_typer(alerts.app, name="alerts")
app.add_typer(keys.app, name="keys")
app.command()(backup.backup)
app.command()(backup.restore)
app.command("who-was-champion")(audit.who_was_champion)
app.command()(audit.explain)
app.command()(features.impact)
app.command()(features.parity)
app.command()(metrics.metrics)
app.command()(metrics.evidently)
app.command()(record.card)
app.command()(costs.cost)
for command in erase.COMMANDS:
    app.command()(command)
app.command()(site.site)
for command in versions.COMMANDS:
    app.command()(command)
app.command()(rollout.rollout)
app.command()(record.reproduce)
app.command()(search.search)
app.command()(own.new)
app.command()(own.check)
app.command()(own.upgrade)
app.command()(diff.diff)
app.command()(drift.drift)
app.command()(scorecard.scorecard)
app.command("try")(own.try_model)

AsOf = Annotated[str | None, typer.Option(help="the moment whose knowledge counts; default: all that landed")]
Model = Annotated[str, typer.Argument(help="a model of the catalog")]


class Every(StrEnum):
    HOUR, DAY, BULK = "1h", "1d", "bulk"


@app.command()
def replay(
    model: Model = REFERENCE,
    start: Annotated[
        str | None, typer.Option("--from", help="first day; default: the first there is")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="last day, included; default: as `tour`")] = None,
    every: Annotated[Every, typer.Option(help="how often the upstream systems export")] = Every.DAY,
    as_json_text: AsJson = False,
) -> None:
    """Play the upstream systems: drop files into the landing folder as an exporter would."""
    from pipelines.catalog import model as named
    from pipelines.loop.replay import replay as play
    from pipelines.upstream import story

    with explained():
        told = story(named(model))
        first, last = _day(start) if start else told.begin, _day(end) if end else told.opening
        files = play(model, first, last, every.value, settings().landing_path)
        landed = [_announced(path, as_json_text) for path in files]
    if as_json_text:
        sys.stdout.write(json.dumps([str(path) for path in landed]) + "\n")
    else:
        console.print(f"{len(landed)} files landed in {settings().landing_path}", markup=False)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise EvergreenError(f"{text!r} is not a day such as 2013-01-31") from None


def _announced(path: Path, quiet: bool) -> Path:
    if not quiet:
        console.print(
            f"landed {path.name} ({path.stat().st_size / 1e6:.1f} MB)"
            if path.exists()
            else f"landed {path.name}"
        )
    return path


@app.command()
def ingest(
    dataset: Annotated[str | None, typer.Argument(help="one dataset; all if left out")] = None,
    as_json_text: AsJson = False,
) -> None:
    """Ingest what has landed: read strictly, validate, commit to silver or quarantine."""
    from pipelines import catalog
    from pipelines.cli.tables import ingested
    from pipelines.ingestion.faults import in_turn
    from pipelines.ingestion.ingest import ingest_dataset
    from pipelines.loop.costs.measured import accounted
    from pipelines.stores.watching.costs import DATASET

    with explained():
        names = [dataset] if dataset else list(catalog.datasets())
        stores = Stores(settings())
        run = accounted(DATASET, "ingest")(lambda name: ingest_dataset(catalog.dataset(name), stores))
        results, troubles = in_turn(names, run)
        show(results, as_json_text, ingested)
        if troubles:
            raise EvergreenError("; ".join(troubles))
    if not all(r.state.ended for r in results):
        raise typer.Exit(MENDED)
    if any(r.quarantined or r.state == "refused" for r in results):
        raise typer.Exit(REFUSED)


@app.command()
def train(
    model: Model,
    as_of: AsOf = None,
    reason: Annotated[str, typer.Option(help="why, for the record")] = "manual",
    as_json_text: AsJson = False,
) -> None:
    """Join the training set, fit, log and register one candidate."""
    from pipelines.cli.tables import trained
    from pipelines.loop import steps

    with explained():
        plan = steps.plan(model, as_of, force=True, reason=reason)
        rows = steps.training_set(model, plan["as_of"])
        candidate = steps.train(model, rows, plan)
        show({"candidate": candidate, "training_set": rows}, as_json_text, trained)


@app.command()
def evaluate(
    model: Model,
    version: Annotated[int | None, typer.Option(help="default: the newest version")] = None,
    month: Annotated[
        str | None, typer.Option(help="measure on a later month, such as 2013-07, instead of the gate")
    ] = None,
    as_json_text: AsJson = False,
) -> None:
    """Hold a version against floors, baseline and champion; or measure it on a later month."""
    from pipelines.cli.tables import judged, measured
    from pipelines.loop import steps

    with explained():
        if month is not None:
            return show(steps.out_of_time(model, version, month), as_json_text, measured)
        verdict = steps.judge(model, version)
        show(verdict, as_json_text, judged)
    if verdict["decision"] != "PASS":
        raise typer.Exit(GATE)


@app.command()
def monitor(model: Model, as_of: AsOf = None, as_json_text: AsJson = False) -> None:
    """Compare what arrives with what the champion was trained on, and report its arrived truth."""
    from pipelines.cli.tables import watched
    from pipelines.loop.steps import monitor as run

    with explained():
        show(run(model, as_of), as_json_text, watched)


@app.command()
def performance(
    model: Model,
    since: Annotated[
        str | None, typer.Option(help="answers about events after this; default: 90 days before the newest")
    ] = None,
    as_of: Annotated[str | None, typer.Option(help="with the truth known then; default: now")] = None,
    as_json_text: AsJson = False,
) -> None:
    """How the model's answers did, day by day and version by version, once the truth came; and a page of it."""
    from pipelines.cli.tables import performed
    from pipelines.loop.steps import performance as run

    with explained():
        show(run(model, since, as_of), as_json_text, performed)


@app.command()
def archive(model: Model, as_json_text: AsJson = False) -> None:
    """Move what is new in the model's prediction log to the Delta tables predictions/MODEL and truths/MODEL."""
    from pipelines.loop.steps import archive as run

    with explained():
        told = "{answers:,} answers and {truths:,} truths moved to the lake; {forgotten:,} left the database"
        show(run(model), as_json_text, lambda found: told.format(**found))


@app.command()
def why(
    asked: Annotated[str, typer.Argument(metavar="MODEL[@VERSION]", help="default version: the champion")],
    as_json_text: AsJson = False,
) -> None:
    """Tell why a version was trained, on what, what the gate said, and what became of it."""
    from datetime import UTC, datetime

    from pipelines.cli.tables import story
    from pipelines.record.why import why as tell

    with explained():
        show(tell(asked, datetime.now(UTC), Stores(settings())), as_json_text, story)


@app.command()
def predict(
    model: Model,
    values: Annotated[list[str], typer.Argument(help="name=value for each entity and request field")] = [],  # noqa: B006
    as_json_text: AsJson = False,
) -> None:
    """Ask the serving app; without values, ask with the spec's examples."""
    from pipelines import catalog
    from pipelines.cli.tables import predicted
    from pipelines.cli.tour import ask, example

    with explained():
        spec = catalog.model(model)
        show(ask(spec, example(spec, dict(_pair(v) for v in values)), settings()), as_json_text, predicted)


@app.command()
def score(
    model: Model,
    file: Annotated[Path, typer.Argument(help="CSV or Parquet, a column for each entity and request field")],
    as_json_text: AsJson = False,
) -> None:
    """Ask the champion every row of a file, and add its answers to the Delta table scores/MODEL, once."""
    from datetime import UTC, datetime

    from pipelines import catalog
    from pipelines.cli.tables import scored
    from pipelines.loop.costs.measured import measured
    from pipelines.serving.tables.scoring import score as run
    from pipelines.stores.watching.costs import MODEL

    with explained(), measured("score", MODEL, model) as step:
        step.answer = done = run(catalog.model(model), file, Stores(settings()), datetime.now(UTC))
        show(done, as_json_text, scored)
    if done.answered < done.rows:
        raise typer.Exit(REFUSED)


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise EvergreenError(f"{text!r} is not name=value")
    return name, value


@app.command()
def status(as_json_text: AsJson = False) -> None:
    """What has landed, what was refused, who is champion, and what runs."""
    from pipelines.cli.tables import summary
    from pipelines.loop.summary import state

    with explained():
        show(state(Stores(settings())), as_json_text, summary)


@app.command()
def validate(
    file: Annotated[Path, typer.Argument(help="a file as it would land")],
    as_json_text: AsJson = False,
) -> None:
    """Say what would become of a file, without taking it in."""
    from pipelines.cli.tables import ingested
    from pipelines.ingestion.ingest import dry_run

    with explained():
        result = dry_run(file, Stores(settings()))
        show([result], as_json_text, ingested)
    if result.quarantined or result.state == "refused":
        raise typer.Exit(REFUSED)


@app.command()
def doctor(as_json_text: AsJson = False) -> None:
    """Check specs, suites, features, stores and services; say what is wrong and how to mend it."""
    from pipelines.cli.tables import examined
    from pipelines.local.supervisor import attended
    from pipelines.loop.doctor import findings

    with explained():
        found = findings({"services": attended})
        show(found, as_json_text, examined)
    if not all(f["ok"] for f in found):
        raise typer.Exit(MENDED)


@app.command()
def start() -> None:
    """Start Airflow, MLflow and serving, and leave them running."""
    from pipelines.cli.tour import started

    with explained():
        started(settings(), console)


@app.command()
def stop() -> None:
    """End exactly what `evergreen start` or `evergreen tour` started."""
    from pipelines.local.supervisor import stop as end

    with explained():
        for name in end(settings()):
            console.print(f"stopped {name}")


@app.command("tour")
def play_tour(
    model: Model = REFERENCE,
    days: Annotated[
        int, typer.Option(min=1, max=30, help="days landed one by one after the first months")
    ] = 2,
) -> None:
    """Start everything, play a model's upstream systems through the whole loop, and say what became of it."""
    from pipelines.cli.tour import run

    with explained():
        run(settings(), console, model, days)
