"""The stages as a scheduler calls them: plain JSON in, plain JSON out, one call per task.

Between tasks travel ids, addresses, counts and times, never data.
"""

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pipelines import catalog
from pipelines.contracts import BatchState, Candidate, EvergreenError, NothingToDo, Say, TrainingSet, as_json
from pipelines.loop.costs.measured import accounted
from pipelines.monitoring import policy
from pipelines.settings import settings
from pipelines.stores import Stores
from pipelines.stores.audit import events
from pipelines.stores.locks import at_work
from pipelines.stores.watching.costs import DATASET, MODEL, VIEWS

ENDED = {state.value for state in BatchState if state.ended}


def stores() -> Stores:
    return Stores(settings())


def moment(text: str | None) -> datetime | None:
    """An ISO 8601 time with a zone; None stays None."""
    if text is None:
        return None
    try:
        value = datetime.fromisoformat(text)
    except ValueError as error:
        raise EvergreenError(f"as_of {text!r} is not a time such as 2013-04-01T00:00:00Z") from error
    if value.tzinfo is None:
        raise EvergreenError(f"as_of {text!r} needs a zone, such as {value.isoformat()}Z")
    return value


@accounted(DATASET)
def ingest(dataset: str, since: str | None = None) -> list[dict[str, Any]]:
    """Ingest every file of a dataset that has landed; entries that nobody will ever open are told of once.

    With `since`, also what ended from that moment on: an earlier try may have died before it told anyone.
    """
    from pipelines.ingestion.arrivals import passed_over
    from pipelines.ingestion.ingest import ingest_dataset

    shared, begun = stores(), moment(since)
    earlier = shared.ledger.ended_since(dataset, begun) if begun else []
    results = ingest_dataset(catalog.dataset(dataset), shared)
    digests = {result.digest for result in results}
    told = [result for result in earlier if result.digest not in digests]
    return [as_json(result) for result in [*told, *results, *passed_over(dataset, shared)]]


def something_new(dataset: str, results: list[dict[str, Any]]) -> None:
    """NothingToDo unless rows came in; EvergreenError if nothing did because of a fault of ours."""
    from pipelines.ingestion.faults import FAULT

    if any(result["silver"] for result in results):
        return
    faults = [r for r in results if r["state"] not in ENDED and str(r["reason"]).startswith(FAULT)]
    if faults:
        raise EvergreenError(f"{faults[0]['name']}: {faults[0]['reason']}")
    raise NothingToDo(f"no new row of {dataset}")


@accounted(VIEWS)
def features(as_of: str | None = None, say: Say = print) -> dict[str, Any]:
    """Bring feature tables and the online store up to `as_of`, or to all that has landed; `say` is told of progress.

    A view that cannot be computed stops no other: `failed` says why, and `all_computed` is the error.
    """
    from pipelines.features.compute import compute

    return dict(as_json(compute(moment(as_of), stores(), say, apart=True)))


def all_computed(run: dict[str, Any]) -> None:
    """EvergreenError if a computation of the features left a view out."""
    if run["failed"]:
        raise EvergreenError("; ".join(f"{view}: {why}" for view, why in run["failed"].items()))


@accounted(MODEL)
def plan(
    model: str,
    as_of: str | None = None,
    force: bool = False,
    now: str | None = None,
    woken: str = "person",
    reason: str | None = "by hand",
) -> dict[str, Any]:
    """What a training run would work on, and why; NothingToDo says why there is none, or until when it waits.

    `now` is the wall clock that cool-down and quiet hours go by. Only `force` with a reason overrides them. Without
    `as_of` it asks as of the moment up to which data has landed and is in the features.
    """
    spec, shared = catalog.model(model), stores()
    end = moment(as_of) or _known(spec, shared)
    call = policy.Call(clock(now), policy.Woken(woken), reason, force)
    return dict(as_json(policy.plan(spec, end, call, shared)))


def _known(spec: catalog.ModelSpec, shared: Stores) -> datetime:
    """The moment up to which a model's data has landed and is in its features; Waiting where they are behind."""
    from pipelines.features.frontier import frontier
    from pipelines.features.watermark import watermark

    needed = [catalog.dataset(name) for name in spec.datasets]
    return frontier(spec, watermark(shared, needed, spec.training.patience), shared)


def clock(now: str | None) -> datetime:
    """The caller's wall clock in UTC; this machine's if the caller has none."""
    return (moment(now) or datetime.now(UTC)).astimezone(UTC)


@accounted(MODEL)
def training_set(model: str, as_of: str) -> dict[str, Any]:
    from pipelines.training.training_set import build

    return dict(as_json(build(catalog.model(model), _required(as_of), stores())))


@accounted(MODEL)
def train(
    model: str,
    training_set: dict[str, Any],
    plan: dict[str, Any],
    now: str | None = None,
    parameters: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train, log and register; the plan's batches count as consumed once that is done.

    `parameters` are those of a search; by default spec.yaml's.
    """
    from pipelines.training.train import train as run

    spec, shared = catalog.model(model), stores()
    spec = spec.model_copy(update={"parameters": parameters}) if parameters else spec
    training = policy.begin(spec, plan["key"], clock(now), shared)
    candidate = run(spec, _training_set(training_set, shared), shared, plan["trigger"], training.record)
    policy.finish(spec, training, candidate.version, clock(now), shared)
    events.witnessed(model, shared)
    return dict(as_json(candidate))


@accounted(MODEL)
def search(
    model: str,
    as_of: str | None = None,
    trials: int | None = None,
    resume: bool = False,
    now: str | None = None,
    say: Say = print,
) -> dict[str, Any]:
    """Search better parameters, and train a candidate with what was found; the gate judges it like any other.

    `resume` goes on with the newest interrupted search, on its rows. Nothing is trained if nothing better was found.
    """
    from pipelines.training.search import search as run

    spec, shared = catalog.model(model), stores()
    rows = _searched(spec, as_of, resume, shared)
    found = run(spec, rows, shared, trials, say)
    answer = {"search": as_json(found), "training_set": as_json(rows), "candidate": None}
    if not found.changed:
        return answer
    why = f"search {found.run_id}: {found.metric} {found.present:.5f} to {found.best:.5f} in {found.trials} trials"
    planned = plan(model, rows.as_of.isoformat(), force=True, now=now, reason=why)
    return answer | {"candidate": train(model, answer["training_set"], planned, now, found.parameters)}


def _searched(spec: catalog.ModelSpec, as_of: str | None, resume: bool, shared: Stores) -> TrainingSet:
    """The rows to search on: those of an interrupted search, or as of a moment, by default all that landed."""
    from pipelines.training.search import asked, unfinished
    from pipelines.training.training_set import build

    asked(spec)
    if resume:
        facts = unfinished(spec, shared)
        return build(spec, _required(facts["as_of"]), shared, facts["views"], facts["versions"])
    return build(spec, moment(as_of) or _known(spec, shared), shared)


@accounted(MODEL)
def rebuild(model: str, training_set: dict[str, Any]) -> dict[str, Any]:
    """Make the candidate of these rows a second time, beside its training, for gate and notary to hold it against.

    What cannot be made is told and not kept; the gate will say so.
    """
    from pipelines.training.rebuild import keep, planned

    spec, shared = catalog.model(model), stores()
    rows = _training_set(training_set, shared)
    try:
        found = keep(planned(spec, rows, shared), spec, shared)
    except EvergreenError as error:
        return {"kept": False, "why": str(error)}
    return {"kept": True, "rows": found.rows, "answers": len(found.answers)}


@accounted(MODEL)
def evaluate(
    model: str, candidate: dict[str, Any], training_set: dict[str, Any], now: str | None = None
) -> dict[str, Any]:
    """The gate's verdict on a candidate."""
    made = Candidate(**candidate | {"as_of": _required(candidate["as_of"])})
    shared = stores()
    return _judged(catalog.model(model), made, _training_set(training_set, shared), shared, clock(now))


def _judged(
    spec: catalog.ModelSpec, made: Candidate, rows: TrainingSet, shared: Stores, now: datetime
) -> dict[str, Any]:
    from pipelines.gate import evaluate as judge

    _keep_rebuild(spec, made.version, shared)
    return dict(as_json(judge(spec, made, rows, shared, now)))


def _keep_rebuild(spec: catalog.ModelSpec, version: int, shared: Stores) -> None:
    """Where no step made the version again beside its training, it is made now, once for gate and notary."""
    from pipelines.training.rebuild import keep, recorded

    if spec.gate.rebuild:
        with suppress(EvergreenError):  # the gate says what cannot be made, and why
            keep(recorded(spec, shared.tracking.version(spec.name, version), shared), spec, shared)


@accounted(MODEL)
def report(model: str, version: int, training_set: dict[str, Any]) -> dict[str, Any]:
    """Plots, page and card of a version that was judged on these rows; where the card lies."""
    shared = stores()
    return _reported(catalog.model(model), version, _training_set(training_set, shared), shared)


def _reported(spec: catalog.ModelSpec, version: int, rows: TrainingSet, shared: Stores) -> dict[str, Any]:
    from pipelines.gate.report import files
    from pipelines.record import card

    files.write(spec, version, rows, shared)
    return {"model": spec.name, "version": version, "card": str(card.write(spec, version, shared))}


@accounted(MODEL)
def promote(model: str, version: int, now: str | None = None) -> dict[str, Any]:
    """Make a version champion if its gate said PASS; beside a champion, where its spec has a rollout, begin that."""
    from pipelines.promotion.promote import promote as move
    from pipelines.record import card
    from pipelines.rollout.moves import begin
    from pipelines.stores.tracking.registry import CHAMPION

    spec, shared = catalog.model(model), stores()
    by_steps = spec.rollout is not None and shared.tracking.named(model, CHAMPION) is not None
    answer = (begin if by_steps else move)(spec, version, shared, clock(now))
    events.witnessed(model, shared)
    card.moved(spec, answer, shared)
    return dict(as_json(answer))


@accounted(MODEL)
def submit(model: str, verdict: dict[str, Any]) -> dict[str, Any]:
    """What a person is asked before a version that passed is promoted; NothingToDo if it did not pass."""
    from pipelines.promotion.approval import question

    return question(catalog.model(model), verdict["version"], stores())


@accounted(MODEL)
def approve(
    model: str,
    version: int,
    yes: bool,
    reason: str = "",
    asked: str | None = None,
    now: str | None = None,
) -> dict[str, Any]:
    """Write down a person's yes or no to a version; `asked` is the record that the person was shown."""
    from pipelines.promotion.approval import answer

    return dict(as_json(answer(catalog.model(model), version, yes, stores(), clock(now), reason, asked)))


@accounted(MODEL)
def score(model: str, file: str | None = None, now: str | None = None) -> list[dict[str, Any]]:
    """Ask the champion each row of a file of the folder `scoring/<model>` of the home; of every file there, if none is
    named. Those that this version has answered add nothing."""
    from pipelines.serving.tables.scoring import score as ask

    spec, shared = catalog.model(model), stores()
    folder = shared.settings.home / "scoring" / model
    folder.mkdir(parents=True, exist_ok=True)
    there = {path.name: path for path in sorted(folder.iterdir()) if path.suffix in {".csv", ".parquet"}}
    if file is not None and file not in there:
        raise EvergreenError(
            f"{folder} holds no {file!r}; it holds {', '.join(there) or 'no .csv or .parquet file'}"
        )
    if not there:
        raise NothingToDo(f"no file in {folder}; put one there with a column for each field of {model}")
    return [as_json(ask(spec, there[name], shared, clock(now))) for name in ([file] if file else there)]


@accounted(MODEL)
def archive(model: str, now: str | None = None) -> dict[str, Any]:
    """Move what is new in the model's prediction log to the lake; NothingToDo if nothing is."""
    from pipelines.serving.tables.archive import archive as move

    found = move(model, stores(), clock(now))
    if not (found.answers or found.truths or found.forgotten):
        raise NothingToDo(f"every answer of {model} that was logged lies in the lake")
    return dict(as_json(found))


@accounted(MODEL)
def performance(model: str, since: str | None = None, as_of: str | None = None) -> dict[str, Any]:
    """How the model's answers did, day by day, by the truth known at `as_of` (now, if left out); writes its page.

    Without `since` of the last ninety days that it answered about, so that an old log costs no more than a young one.
    """
    from pipelines.monitoring.performance.days import SHOWN
    from pipelines.monitoring.performance.days import performance as told
    from pipelines.monitoring.performance.page import paged
    from pipelines.rollout.past import spans

    spec, shared, end = catalog.model(model), stores(), clock(as_of)
    begin = moment(since) or (shared.predictions.newest(model, end) or end) - SHOWN
    found = told(spec, begin, end, shared, spans(model, shared))
    page = paged(found, shared.settings.home / "reports" / "performance")
    shared.files.keep(page)
    return dict(as_json(found)) | {"page": str(page)}


@accounted(MODEL)
def monitor(model: str, as_of: str | None = None, now: str | None = None) -> dict[str, Any]:
    """Compare the newest labelled rows with those the champion was trained on and judged by.

    Drift or decay becomes a signal, once per champion version and moment, that `plan` finds.
    """
    from pipelines.monitoring.monitor import monitor as watch
    from pipelines.monitoring.monitor import signal
    from pipelines.training.training_set import observed

    spec, shared = catalog.model(model), stores()
    end = moment(as_of) or _known(spec, shared)
    with at_work(shared.settings):
        reference, current = observed(spec, end, shared)
        found = watch(spec, end, shared, reference, current)
    signal(found, clock(now), shared)
    events.witnessed(model, shared)
    report = dict(as_json(found))
    for name in ("latest", f"version_{found.version}"):  # of each champion the newest stays
        with shared.files.whole(
            shared.settings.home / "reports" / "monitor" / model / f"{name}.json"
        ) as part:
            part.write_text(json.dumps(report, indent=2))
    return report


@accounted(MODEL)
def retain(model: str, now: str | None = None) -> list[dict[str, Any]]:
    """Remove what is older than its dataset's retention, of each dataset of the model; NothingToDo if nothing is."""
    from pipelines.erasure.retention import retain as remove

    spec = catalog.model(model)
    names = dict.fromkeys([*spec.datasets, spec.label.dataset])
    return [as_json(each) for each in remove(names, stores(), clock(now))]


def newest(model: str) -> int:
    """The newest registered version of a model."""
    version = stores().tracking.newest(model)
    if version is None:
        raise EvergreenError(f"{model} has no version yet; `evergreen train {model}` makes one")
    return int(version.version)


@accounted(MODEL, "evaluate")
def judge(model: str, version: int | None = None, now: str | None = None) -> dict[str, Any]:
    """The gate's verdict on a version that was trained before, with its plots, page and card."""
    spec, shared = catalog.model(model), stores()
    found = shared.tracking.version(model, version or newest(model))
    from pipelines.training.training_set import build

    made = Candidate(
        model, found.version, found.run_id, found.digest, found.as_of, found.tags["training_set"]
    )
    rows = build(spec, found.as_of, shared, found.views, _tables(found.run_id, shared))
    verdict = _judged(spec, made, rows, shared, clock(now))
    _reported(spec, made.version, rows, shared)
    return verdict


def _tables(run_id: str, shared: Stores) -> dict[str, int] | None:
    """The Delta versions a run's training set was read from, so that rows which landed since change nothing."""
    tags = shared.tracking.run(run_id).tags
    return dict(json.loads(tags["delta_versions"])) if "delta_versions" in tags else None


@accounted(MODEL)
def out_of_time(model: str, version: int | None, month: str) -> dict[str, Any]:
    """A version's metrics beside the baseline's on a whole month after its training."""
    from pipelines.gate import evaluate_on
    from pipelines.training.training_set import month_of

    spec, shared = catalog.model(model), stores()
    found = shared.tracking.version(model, version or newest(model))
    rows = month_of(spec, month, found, shared)
    metrics = evaluate_on(spec, found, rows, shared)
    facts = {"model": model, "version": found.version, "as_of": as_json(found.as_of), "month": month}
    return {**facts, "rows": len(rows), "metrics": metrics}


def _required(text: str) -> datetime:
    value = moment(text)
    if value is None:
        raise EvergreenError("as_of is missing; name a time such as 2013-04-01T00:00:00Z")
    return value


def _training_set(plain: dict[str, Any], shared: Stores) -> TrainingSet:
    """The training set, with the place where its rows lie on this machine."""
    from pipelines.training.training_set import path_of

    times = {name: _required(plain[name]) for name in ("as_of", "holdout_start")}
    rows = TrainingSet(**plain | times)
    return replace(rows, path=str(path_of(rows.model, rows.digest, shared)))
