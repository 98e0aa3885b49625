"""`evergreen audit`: is the record whole, what does it say, and a copy of it for others to check."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from pipelines.cli.output import MENDED, AsJson, console, errors, explained, settings, show
from pipelines.contracts import EvergreenError, as_json
from pipelines.serving.explaining import EVALUATIONS, LEAST, MOST
from pipelines.stores import Stores

app = typer.Typer(no_args_is_help=True, help=__doc__)


@app.command()
def verify(
    file: Annotated[Path | None, typer.Option(help="an exported log, instead of this deployment's")] = None,
    key: Annotated[Path | None, typer.Option(help="the key of that log; default: this deployment's")] = None,
    witness: Annotated[
        Path | None, typer.Option(help="an earlier export, kept elsewhere, that the log must agree with")
    ] = None,
    log_only: Annotated[
        bool, typer.Option("--log-only", help="leave versions, files and ledger out")
    ] = False,
    as_json_text: AsJson = False,
) -> None:
    """Hold every entry, version, licence, record and file against each other; exit 1 and say what is wrong."""
    with explained():
        answer = _exported(file, key) if file is not None else _ours(witness, log_only)
    if as_json_text:
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    else:
        _tell(answer)
    if answer["findings"]:
        raise typer.Exit(MENDED)


def _exported(file: Path, key: Path | None) -> dict[str, Any]:
    from pipelines.stores.audit.export import verify_file
    from pipelines.stores.audit.keys import AUDIT

    head, found = verify_file(file, key or settings().keys_path / AUDIT)
    return {"entries": head.number, "head": str(head), "findings": [str(f) for f in found], "warnings": []}


def _ours(witness: Path | None, log_only: bool) -> dict[str, Any]:
    from pipelines.record.verification import verify as run
    from pipelines.stores.audit.export import head_of

    stores = Stores(settings())
    witnesses = [head_of(witness)] if witness is not None else []
    found = stores.audit.verify(witnesses) if log_only else run(stores, datetime.now(UTC), witnesses)
    head = stores.audit.head
    return {
        "entries": head.number,
        "head": str(head),
        "findings": [str(finding) for finding in found],
        "warnings": stores.keys.exposed(),
    }


def _tell(answer: dict[str, Any]) -> None:
    for warning in answer["warnings"]:
        errors.print(f"Warning: {warning}", style="yellow", markup=False)
    for finding in answer["findings"]:
        console.print(f"WRONG: {finding}", style="red", markup=False, soft_wrap=True)
    count = len(answer["findings"])
    said = f"{count} finding{'s' if count > 1 else ''}" if count else "whole"
    console.print(f"{said}: {answer['entries']:,} entries", markup=False)
    if not count:
        console.print(f"head: {answer['head']}", markup=False, soft_wrap=True)


@app.command("show")
def show_entries(
    subject: Annotated[
        str | None, typer.Option(help="such as model:flight_delays@3 or champion:flight_delays")
    ] = None,
    action: Annotated[str | None, typer.Option(help="such as gate, promote, rollback, refuse")] = None,
    since: Annotated[str | None, typer.Option(help="a moment such as 2026-01-31T00:00:00Z")] = None,
    limit: Annotated[int, typer.Option(min=1, help="so many of the newest")] = 50,
    as_json_text: AsJson = False,
) -> None:
    """What was decided: when, by whom, on what, and why; the oldest first."""
    from pipelines.loop.steps import moment

    with explained():
        found = Stores(settings()).audit.entries(subject, action, limit, moment(since))
        show(found, as_json_text, _listed)


def _listed(entries: list[dict[str, Any]]) -> Any:
    if not entries:
        return "The audit log has no such entry."
    table = Table(title="Audit log", title_justify="left")
    for name in ("", "when (UTC)", "what", "why"):
        table.add_column(name, overflow="fold")
    for entry in entries:
        what = f"{entry['action']} {_short(entry['subject'])}\nby {entry['who']}"
        table.add_row(
            str(entry["number"]), entry["at"][:19].replace("T", " "), escape(what), escape(_why(entry))
        )
    return table


def _short(subject: str) -> str:
    """A batch by the first letters of its digest, as everywhere a person looks."""
    kind, sign, digest = subject.rpartition("/")
    return f"{kind}{sign}{digest[:12]}" if sign else subject


def _why(entry: dict[str, Any]) -> str:
    facts = {name: value for name, value in entry["evidence"].items() if isinstance(value, str | int | float)}
    said = ", ".join(f"{name} {_brief(value)}" for name, value in facts.items())
    return "\n".join(filter(None, [entry["why"], said]))


def _brief(value: Any) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text[:60]


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="where to; JSON lines")],
    as_json_text: AsJson = False,
) -> None:
    """Write the log with its chain, so that who has the key can verify it anywhere: `audit verify --file FILE`."""
    from pipelines.stores.audit.export import export as run

    with explained():
        if not file.absolute().parent.is_dir():
            raise EvergreenError(f"{file.absolute().parent} is no folder; name a file in one")
        head = run(Stores(settings()).audit, file)
    answer = {"file": str(file), "entries": head.number, "head": str(head)}
    if as_json_text:
        sys.stdout.write(json.dumps(as_json(answer), indent=2) + "\n")
    else:
        console.print(f"{head.number:,} entries in {file}, head {head}", markup=False, soft_wrap=True)


@app.command()
def resume(
    reason: Annotated[str, typer.Option(help="why the log may go on, such as which backup was restored")],
) -> None:
    """Go on after the log's end or anchor was lost; what was found, who said so and why is entered."""
    from pipelines.record.verification import trusted_heads

    with explained():
        if not reason.strip():
            raise EvergreenError("going on after a loss needs a reason; say why with --reason")
        stores = Stores(settings())
        stores.audit.resume(datetime.now(UTC), stores.who, reason.strip(), trusted_heads(stores))
    console.print(f"the log goes on; its head is {stores.audit.head}", markup=False, soft_wrap=True)


def who_was_champion(
    model: Annotated[str, typer.Argument(help="a model of the catalog")],
    at: Annotated[str, typer.Option(help="a moment such as 2026-01-31T12:00:00Z")],
    as_json_text: AsJson = False,
) -> None:
    """Who was champion at a moment: since and until when, by whose decision, and on which grounds."""
    from pipelines.catalog import model as spec_of
    from pipelines.loop.steps import moment
    from pipelines.record.champion_history import who_was_champion as run

    with explained():
        asked = moment(at)
        if asked is None:
            raise EvergreenError("--at is empty; name a moment such as 2026-01-31T12:00:00Z")
        show(run(spec_of(model).name, asked, Stores(settings())), as_json_text, _tenure)


def _tenure(found: dict[str, Any]) -> Any:
    until = f"until {found['until']}, then version {found['heir']}" if found["until"] else "until now"
    table = Table.grid(padding=(0, 2))
    rows = {
        "champion": f"{found['model']} version {found['version']}",
        "at": found["at"],
        "since": found["since"],
        "": until,
        "by": f"{found['action']}, {found['decision']}, by {found['who']}",
        "why": found["why"] or "not said",
        "replaced": found["replaced"] or "nobody, it was the first",
    }
    for name, value in rows.items():
        table.add_row(name, escape(str(value)))
    return table


def explain(
    prediction_id: Annotated[str, typer.Argument(help="as the answer named it")],
    contributions: Annotated[
        bool, typer.Option("--contributions", help="what each input contributed to the answer, instead")
    ] = False,
    evaluations: Annotated[
        int,
        typer.Option(min=LEAST, max=MOST, help="mixed rows the model is asked about for the contributions"),
    ] = EVALUATIONS,
    of: Annotated[str | None, typer.Option(help="the class they are of; default: the one predicted")] = None,
    as_json_text: AsJson = False,
) -> None:
    """Follow a prediction back: answer, features, version, licence, gate, training set, batches, files, commit."""
    from pipelines.cli.explanation import sums, tree
    from pipelines.record.contributions import contributions as shares
    from pipelines.record.explain import explain as run

    with explained():
        stores = Stores(settings())
        if contributions:
            show(shares(prediction_id, stores, evaluations, of), as_json_text, sums)
        else:
            show(run(prediction_id, stores), as_json_text, tree)
