"""`evergreen prove`: the product's promises, held against the worst that can be done to them."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pipelines.catalog import REFERENCE
from pipelines.catalog.types import duration
from pipelines.cli.output import AsJson, console, explained, settings
from pipelines.contracts import EvergreenError, as_json
from pipelines.prove import Proof

app = typer.Typer(no_args_is_help=True, help=__doc__)
progress = Console(stderr=True)

FIRST, LAST = datetime(2013, 4, 1, tzinfo=UTC), datetime(2013, 12, 31, tzinfo=UTC)
Seed = Annotated[int, typer.Option(help="another seed tries other cases")]


def _span(help_text: str, default: str) -> Any:
    """An option such as 90m, 36h or 7d."""
    return typer.Option(parser=_duration, metavar="DURATION", show_default=default, help=help_text)


def _duration(text: Any) -> timedelta:
    try:
        found: timedelta = text if isinstance(text, timedelta) else duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if not found:
        raise typer.BadParameter("it must be longer than nothing")
    return found


def _say(text: str) -> None:
    progress.print(text, style="dim", markup=False)


def _conclude(name: str, proof: Proof, as_json_text: bool) -> None:
    """Keep and print what was tried and what broke; exit 1 if the promise did not hold."""
    _keep(name, proof)
    if as_json_text:
        sys.stdout.write(json.dumps(as_json(proof) | {"holds": proof.holds}, indent=2) + "\n")
    else:
        console.print(_table(proof))
        for failure in proof.failures:
            console.print(f"BROKEN: {failure}", style="red", markup=False)
        console.print(f"{'Holds' if proof.holds else 'DOES NOT HOLD'}: {proof.promise}", markup=False)
    if not proof.holds:
        raise typer.Exit(1)


@contextmanager
def _home(name: str, home: Path | None) -> Iterator[Path]:
    """Where a proof lives: the home asked for, or one that leaves with it, of which pictures and pages are kept."""
    from shutil import copyfile

    with TemporaryDirectory(prefix="evergreen-prove-") as folder:
        place = home or Path(folder) / "home"
        yield place
        shown = [*place.glob("reports/*.png"), *place.glob("reports/performance/*.html")]
        if home is None and shown:
            kept = settings().home / "proofs" / name
            kept.mkdir(parents=True, exist_ok=True)
            for each in shown:
                copyfile(each, kept / each.name)
            _say(f"Kept in {kept}: {', '.join(each.name for each in shown)}")


def _keep(name: str, proof: Proof) -> None:
    """The home remembers how it ended, for `evergreen scorecard`."""
    from datetime import UTC, datetime

    from pipelines.stores import proofs
    from pipelines.training.checkout import commit

    proofs.keep(proofs.Kept(name, proof.promise, proof.holds, datetime.now(UTC), commit()), settings())


def _table(proof: Proof) -> Table:
    table = Table(title=proof.promise, title_justify="left")
    names: dict[str, Any] = dict.fromkeys(name for row in proof.rows for name in row)
    for name in names:
        table.add_column(name, overflow="fold")
    for row in proof.rows:
        table.add_row(*(str(row.get(name, "")) for name in names))
    return table


@app.command()
def ingestion(
    kills: Annotated[int, typer.Option(min=1, help="how many writers are killed at random points")] = 100,
    points: Annotated[
        int | None, typer.Option(min=0, help="kill at this many of the system calls; default: at each")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(help="s3: on a SeaweedFS of its own; s3://BUCKET/PREFIX, az:// or gs://: there"),
    ] = None,
    seed: Seed = 0,
    as_json_text: AsJson = False,
) -> None:
    """Two writers at once, killed at random points and at every fsync, rename, link and write."""
    from pipelines.prove.ingestion import prove

    with explained():
        _conclude("ingestion", prove(kills, points, seed, _say, asked=store), as_json_text)


@app.command()
def storage(
    points: Annotated[
        int | None, typer.Option(min=1, help="break this many of the system calls; default: each")
    ] = None,
    as_json_text: AsJson = False,
) -> None:
    """A full disk and a disk that reports errors: nothing silently accepted, and recovery after."""
    from pipelines.prove.ingestion.storage import prove

    with explained():
        _conclude("storage", prove(points, _say), as_json_text)


@app.command()
def awkward(
    fuzz: Annotated[int, typer.Option(min=0, help="how many mutated real files are tried as well")] = 100,
    seed: Seed = 0,
    as_json_text: AsJson = False,
) -> None:
    """Every class of awkward file: what must become of it, and what did."""
    from pipelines.prove.awkward import prove

    with explained():
        _conclude("awkward", prove(fuzz, seed, _say), as_json_text)


@app.command()
def triggers(
    events: Annotated[int, typer.Option(min=1, help="how many files and events each case uses")] = 20,
    kills: Annotated[int, typer.Option(min=0, help="how many supervisors of live tasks are killed")] = 20,
    as_json_text: AsJson = False,
) -> None:
    """A real Airflow with events lost, doubled, late and reordered, and with its processes killed."""
    from pipelines.prove.triggers import prove

    with explained():
        _conclude("triggers", prove(events, kills, _say), as_json_text)


Model = Annotated[str, typer.Argument(help="a model of the catalog")]


@app.command()
def parity(
    model: Model = REFERENCE,
    lookups: Annotated[int, typer.Option(min=1, help="one entity in one view at one moment each")] = 100_000,
    steps: Annotated[int, typer.Option(min=1, help="how often features are computed in between")] = 24,
    seed: Seed = 0,
    as_json_text: AsJson = False,
) -> None:
    """Features that serving logged, recomputed offline to the bit; a skew that was planted is named."""
    from pipelines.prove.features.parity import prove

    with explained():
        _conclude("parity", prove(model, lookups, steps, seed, _say), as_json_text)


@app.command("as-of")
def as_of(
    model: Model = REFERENCE,
    rows: Annotated[int, typer.Option(min=100, help="how many labels, each with all its features")] = 100_000,
    steps: Annotated[int, typer.Option(min=4, help="how often features are computed as time passes")] = 24,
    seed: Seed = 0,
    as_json_text: AsJson = False,
) -> None:
    """Training rows as they were known then and with hindsight: equal to the bit; leaking features refused."""
    from pipelines.prove.features.as_of import prove

    with explained():
        _conclude("as-of", prove(model, rows, steps, seed, _say), as_json_text)


@app.command()
def materialization(
    keys: Annotated[int, typer.Option(min=1, help="how many keys have values")] = 10_000,
    windows: Annotated[int, typer.Option(min=1, help="how many windows are brought online")] = 100,
    seed: Seed = 0,
    as_json_text: AsJson = False,
) -> None:
    """Shuffled, repeated, overlapping and killed windows leave each key's newest value online."""
    from pipelines.prove.features.materialization import prove

    with explained():
        _conclude("materialization", prove(keys, windows, seed, _say), as_json_text)


@app.command()
def engines(
    model: Annotated[str | None, typer.Argument(help="a model of the catalog; default: each")] = None,
    month: Annotated[
        str | None, typer.Option(help="such as 2013-01; default: the first of each model's rows")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="only its first days")] = None,
    as_json_text: AsJson = False,
) -> None:
    """Every feature view on DuckDB and on Spark: the same rows, the same values."""
    from pipelines.prove.features.engines import prove

    with explained():
        _conclude("engines", prove(model, month, _say, days), as_json_text)


@app.command()
def gates(
    model: Model = REFERENCE,
    days: Annotated[
        int | None,
        typer.Option(min=15, max=300, help="of rows, the held-out ones included; default: as truth needs"),
    ] = None,
    cases: Annotated[int | None, typer.Option(min=1, help="so many of each kind; default: all")] = None,
    seed: Seed = 0,
    as_json_text: AsJson = False,
) -> None:
    """Planted bad candidates and sabotaged gates on real rows: none makes a champion, a better one does."""
    from pipelines.prove.gates import prove

    with explained():
        _conclude("gates", prove(model, days, cases, seed, _say), as_json_text)


@app.command()
def statistics(
    pairs: Annotated[int, typer.Option(min=2000, help="fewer cannot show rates so small")] = 2000,
    rows: Annotated[int, typer.Option(min=4000, help="held-out rows of each pair")] = 4000,
    seed: Seed = 0,
    as_json_text: AsJson = False,
) -> None:
    """Pairs of equal and of worse models: how often the gate errs, and how many rows it needs to see."""
    from pipelines.prove.statistics import prove

    with explained():
        _conclude("statistics", prove(pairs, seed, rows, _say), as_json_text)


@app.command()
def models(
    model: Model = REFERENCE,
    cases: Annotated[int | None, typer.Option(min=1, help="so many hostile models; default: all")] = None,
    as_json_text: AsJson = False,
) -> None:
    """Hostile models, by file and by deed, at every way in: refused, their canary never made."""
    from pipelines.prove.models import prove

    with explained():
        _conclude("models", prove(model, cases, _say), as_json_text)


@app.command()
def promotion(
    kills: Annotated[int, typer.Option(min=1, help="how many writers are killed at random moments")] = 2000,
    reads: Annotated[
        int, typer.Option(min=1, help="how often readers ask for the champion, at least")
    ] = 100_000,
    seed: Seed = 0,
    as_json_text: AsJson = False,
) -> None:
    """Promotion, rollback and override killed anywhere while four readers look: one champion, whole and licensed."""
    from pipelines.prove.promotion import prove

    with explained():
        _conclude("promotion", prove(kills, reads, seed, _say), as_json_text)


@app.command()
def audit(
    edits: Annotated[int, typer.Option(min=1, help="how many different single edits are tried")] = 1000,
    seed: Seed = 0,
    as_json_text: AsJson = False,
) -> None:
    """Single edits of audit log, decision records, versions and model files: each must be found."""
    from pipelines.prove.audit import prove

    with explained():
        _conclude("audit", prove(edits, seed, _say), as_json_text)


@app.command()
def restore(
    files: Annotated[
        int, typer.Option(min=2, help="files that are taken in before and during the backup")
    ] = 40,
    kills: Annotated[
        int, typer.Option(min=0, help="backups and restores killed at random moments, of each")
    ] = 20,
    questions: Annotated[
        int, typer.Option(min=1, max=1500, help="asked of the champion on both sides")
    ] = 1000,
    seed: Seed = 0,
    as_json_text: AsJson = False,
) -> None:
    """A backup while files are taken in, restored elsewhere, both killed: same rows, same answers."""
    from pipelines.prove.restore import prove

    with explained():
        _conclude("restore", prove(files, kills, questions, seed, _say), as_json_text)


@app.command()
def canary(
    canaries: Annotated[int, typer.Option(min=1, help="how many of each kind")] = 1000,
    looks: Annotated[int, typer.Option(min=1, help="how often the naive z-test is looked at")] = 200,
    questions: Annotated[int, typer.Option(min=100, help="how many each canary is asked")] = 10_000,
    seed: Seed = 0,
    as_json_text: AsJson = False,
) -> None:
    """Canaries of equal and of sick models: how many are taken back, and how soon; a naive z-test beside it."""
    from pipelines.prove.canary import prove

    with explained():
        _conclude("canary", prove(canaries, looks, questions, seed, _say), as_json_text)


@app.command()
def drift(
    days: Annotated[int, typer.Option(min=7, help="how long nothing changes")] = 365,
    columns: Annotated[int, typer.Option(min=10, help="how many columns")] = 50,
    rows: Annotated[int, typer.Option(min=20, help="rows a day; a week is looked at together")] = 143,
    stock: Annotated[int, typer.Option(min=0, help="quiet weeks that Evidently's preset is asked of")] = 10,
    worlds: Annotated[int, typer.Option(min=0, help="worlds in which two columns begin to go together")] = 20,
    seed: Seed = 0,
    as_json_text: AsJson = False,
) -> None:
    """A quiet year and shifts of each kind: how often drift is said that is none, and how soon what is."""
    from pipelines.prove.drift import prove

    with explained():
        _conclude("drift", prove(days, columns, rows, stock, worlds, seed, _say), as_json_text)


@app.command()
def alarms(
    begin: Annotated[
        datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="the model is of the days before")
    ] = FIRST,
    end: Annotated[
        datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="it is looked at up to here")
    ] = LAST,
    home: Annotated[Path | None, typer.Option(help="keeps it all; default: none")] = None,
    as_json_text: AsJson = False,
) -> None:
    """The real year 2013: which alarms of drift began, when, beside what the frozen March model lost, as a picture."""
    from pipelines.prove.alarms import prove

    with explained():
        with _home("alarms", home) as place:
            proof = prove(REFERENCE, date(2013, 1, 1), begin.date(), end.date(), place, _say)
        _conclude("alarms", proof, as_json_text)


@app.command()
def serving(
    moves: Annotated[int, typer.Option(min=2, help="how often the champion moves under load")] = 500,
    kills: Annotated[int, typer.Option(min=0, help="how often the server is killed under load")] = 200,
    seconds: Annotated[float, typer.Option(min=0.5, help="how long each back end is gone")] = 60.0,
    workers: Annotated[int, typer.Option(min=1, help="processes of the server while champions move")] = 2,
    load: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="of what it answers at most, asked while they do")
    ] = 0.7,
    seed: Seed = 0,
    as_json_text: AsJson = False,
) -> None:
    """The real prediction API under load: champions move, it is killed, and what it leans on hangs, goes and lies."""
    from pipelines.prove.serving import prove

    with explained():
        proof = prove(moves, kills, seconds, seed, _say, workers=workers, load=load)
        _conclude("serving", proof, as_json_text)


@app.command()
def erasure(
    subjects: Annotated[int, typer.Option(min=1, help="how many persons are erased")] = 100,
    customers: Annotated[int, typer.Option(min=2, help="of how many")] = 500,
    days: Annotated[int, typer.Option(min=72, help="on how many days they pay")] = 75,
    kills: Annotated[int, typer.Option(min=0, help="how many runs are killed before one may end")] = 5,
    home: Annotated[Path | None, typer.Option(help="keeps it all; default: none")] = None,
    seed: Seed = 0,
    as_json_text: AsJson = False,
) -> None:
    """Persons leave a loaded deployment: no byte of them in any file, others as they were, the loop goes on."""
    from pipelines.prove.erasure import prove

    with explained():
        if subjects >= customers:
            raise EvergreenError("--subjects must be fewer than --customers: somebody has to stay")
        with _home("erasure", home) as place:
            proof = prove(subjects, customers, days, kills, seed, place, _say)
        _conclude("erasure", proof, as_json_text)


@app.command()
def year(
    start: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="the first day")] = FIRST,
    end: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="the last day")] = LAST,
    every: Annotated[timedelta, _span("how often files land and features are computed", "1d")] = timedelta(
        hours=25
    ),
    window: Annotated[timedelta, _span("what falls due so soon after is asked", "3h")] = timedelta(hours=3),
    watch: Annotated[timedelta, _span("how often drift and decay are looked at", "3d")] = timedelta(days=3),
    sweep: Annotated[timedelta, _span("how often the schedule asks for a retraining", "7d")] = timedelta(
        days=7
    ),
    sample: Annotated[int, typer.Option(min=1, help="of a window so many questions at most")] = 200,
    home: Annotated[
        Path | None, typer.Option(help="keeps it all, and goes on where it was; default: none")
    ] = None,
    seed: Seed = 0,
    as_json_text: AsJson = False,
) -> None:
    """April to December 2013 as traffic, truth arriving late: the retrainings, and their gain over the March model."""
    from pipelines.prove.year import prove
    from pipelines.prove.year.story import Script

    script = Script(start.date(), end.date(), every, window, sample, watch, sweep, seed=seed)
    with explained():
        with _home("year", home) as place:
            proof = prove(REFERENCE, script, place, _say)
        _conclude("year", proof, as_json_text)
