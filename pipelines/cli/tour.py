"""The first five minutes: start everything, land what a model learns from, and follow it to a served answer."""

import json
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any, Literal

from rich.console import Console

from pipelines import catalog
from pipelines.cli.tables import predicted, summary
from pipelines.contracts import EvergreenError
from pipelines.settings import Settings
from pipelines.stores import Stores

PARSED = 60.0
"""Within so many seconds Airflow has read the DAG files; who is not known by then is not waited for."""


def run(settings: Settings, console: Console, model: str, days: int) -> None:
    """Land the opening of a model's story in bulk and `days` days one by one, waiting for Airflow to do the work."""
    from pipelines.upstream import story

    spec, begun = catalog.model(model), time.monotonic()
    told = story(spec)
    started(settings, console)
    stores = Stores(settings)
    land(settings, console, model, told.begin, told.opening, "bulk")
    with undisturbed(spec, settings, console):
        await_champion(stores, console, model, None, "the first champion is trained, judged and served")
    console.print(predicted(ask(spec, example(spec, {}), settings)))
    console.print(f"First served prediction {time.monotonic() - begun:.0f} s after the start.", style="bold")
    for day in _days(told.opening, days):
        land(settings, console, model, day, day, "1d")
        await_champion(stores, console, model, day, f"what was known of {day} is in the model's record")
    for request in newest(spec, stores, 3):
        console.print(predicted(post(settings, request, model)))
    await_drift(stores, console, model)
    console.print(summary(_state(stores)))
    console.print(
        f"Done after {time.monotonic() - begun:.0f} s; everything keeps running, `make stop` ends it."
    )


def started(settings: Settings, console: Console) -> None:
    """Every service runs and is healthy; progress is told."""
    from pipelines.local.supervisor import start

    with console.status("Starting ...") as status:
        services = start(settings, lambda text: status.update(text))
    for line in services.told():
        console.print(line)


@contextmanager
def undisturbed(spec: catalog.ModelSpec, settings: Settings, console: Console) -> Iterator[None]:
    """Models that learn from the same files are trained later: their retraining is paused in Airflow meanwhile."""
    from pipelines.local.rest import Airflow

    airflow, begun = Airflow(settings), time.monotonic()
    others = [
        f"retrain_{m.name}"
        for m in catalog.models().values()
        if m != spec and {*m.datasets} & {*spec.datasets}
    ]
    while {*others} - {*airflow.dags()} and time.monotonic() - begun < PARSED:
        time.sleep(0.5)
    known = airflow.dags()
    held = [dag for dag in others if known.get(dag) is False]
    for dag in held:
        airflow.pause(dag, True)
    if held:
        console.print(f"Paused until then, as they learn from the same files: {', '.join(held)}")
    try:
        yield
    finally:
        for dag in held:
            airflow.pause(dag, False)


def land(
    settings: Settings, console: Console, model: str, first: date, last: date, every: Literal["1d", "bulk"]
) -> None:
    from pipelines.loop.replay import replay

    names = [path.name for path in replay(model, first, last, every, settings.landing_path)]
    console.print(f"Landed {len(names)} files: {', '.join(names)}")


def _days(last: date, count: int) -> Iterator[date]:
    for number in range(1, count + 1):
        yield last + timedelta(days=number)


def await_champion(stores: Stores, console: Console, model: str, day: date | None, what: str) -> None:
    """Wait until a version was judged, one that knows of `day` if there is one, and serving answers with the champion.

    The opening's files come in one after the other; one of them may be late by more than a first training waits for.
    """

    def judged() -> dict[str, Any] | None:
        folder = stores.settings.home / "decisions" / model
        records = [json.loads(path.read_text()) for path in folder.glob("[0-9]*.json")]
        last = max(records, key=lambda record: record["version"], default=None)
        return last if last and (day is None or last["as_of"][:10] >= day.isoformat()) else None

    def served() -> bool:
        last, champion = judged(), stores.tracking.champion(model)
        if last is None or champion is None or serving_version(stores.settings, model) != champion.version:
            return False
        return bool(last["decision"] != "PASS" or champion.version >= last["version"])

    wait(console, f"Airflow works until {what}", served, stores, model, 480)
    console.print(f"Version {serving_version(stores.settings, model)} answers: {what}.")


def await_drift(stores: Stores, console: Console, model: str) -> None:
    latest = stores.settings.home / "reports" / "monitor" / model / "latest.json"
    wait(console, "Airflow writes the drift report", latest.exists, stores, model, 180)


def wait(
    console: Console, what: str, done: Callable[[], bool], stores: Stores, model: str, limit: float
) -> None:
    """Wait for a condition, showing what has been reached; a limit passed says where to look."""
    begun = time.monotonic()
    with console.status(what) as status:
        while not done():
            spent = time.monotonic() - begun
            if spent > limit:
                logs = stores.settings.home / "logs"
                raise EvergreenError(f"{what}: not within {limit:.0f} s; Airflow's UI and {logs} tell why")
            status.update(f"{what} ({spent:.0f} s; {reached(stores, model)})")
            time.sleep(1)


def reached(stores: Stores, model: str) -> str:
    """How far the data has come, in a few words."""
    batches = stores.ledger.batches()
    rows = sum(batch.silver for batch in batches)
    versions = len(list((stores.settings.home / "decisions" / model).glob("[0-9]*.json")))
    return f"{len(batches)} files, {rows:,} rows ingested, {versions} versions judged"


def serving_version(settings: Settings, model: str) -> int | None:
    """The version that answers; None while none does."""
    from pipelines.local.answering import status

    return (status(settings, model) or {}).get("version")


def example(spec: catalog.ModelSpec, values: dict[str, str]) -> dict[str, Any]:
    """A request of the spec's examples, with some values replaced."""
    fields = {**spec.entities, **spec.request}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise EvergreenError(f"{spec.name} takes no {', '.join(unknown)}; it takes {', '.join(fields)}")
    given = {name: _typed(name, values[name], fields[name].type) for name in values}
    body = {name: given.get(name, field.example) for name, field in fields.items()}
    return {
        "entities": {name: body[name] for name in spec.entities},
        "request": {name: body[name] for name in spec.request},
    }


def _typed(name: str, text: str, kind: str) -> str | int | float:
    kinds: dict[str, Callable[[str], str | int | float]] = {"integer": int, "float": float}
    try:
        return kinds.get(kind, str)(text)
    except ValueError:
        raise EvergreenError(f"{name} must be of type {kind}, not {text!r}") from None


def ask(spec: catalog.ModelSpec, body: dict[str, Any], settings: Settings) -> dict[str, Any]:
    return post(settings, body, spec.name)


def post(settings: Settings, body: dict[str, Any], model: str) -> dict[str, Any]:
    """The serving app's answer; a refusal or a silent server is an error that says so."""
    from pipelines.local.answering import exchange

    path = f"/v1/models/{model}/predictions"
    try:
        return dict(json.loads(exchange(settings, path, body, seconds=30)))
    except urllib.error.HTTPError as error:
        raise EvergreenError(
            f"serving answered {error.code}: {error.read().decode(errors='replace')}"
        ) from error
    except (urllib.error.URLError, TimeoutError) as error:
        raise EvergreenError(
            f"no answer from {settings.serving_address}{path}; `evergreen start` starts serving"
        ) from error


def newest(spec: catalog.ModelSpec, stores: Stores, count: int) -> list[dict[str, Any]]:
    """Requests for the last events whose truth landed and all of whose entities are known."""
    from pipelines.features.silver import connect
    from pipelines.training.training_set import given

    source = catalog.dataset(spec.label.dataset)
    as_of = stores.ledger.watermark(source.name)
    if as_of is None:
        return []
    asked = [*spec.entities, *spec.request]
    connection = connect(stores, [source], as_of, as_of - timedelta(days=1))
    known = " and ".join(["true", *(f"{name} is not null" for name in spec.entities)])
    last = f"order by event_timestamp desc limit {count}"
    query = f"select {', '.join(asked)} from ({spec.label_sql}) where {known} {last}"
    rows = connection.execute(query, given(spec)).fetchall()
    return [_request(spec, dict(zip(asked, row, strict=True))) for row in rows]


def _request(spec: catalog.ModelSpec, row: dict[str, Any]) -> dict[str, Any]:
    plain = {
        name: f"{value.isoformat()}Z" if hasattr(value, "isoformat") else value for name, value in row.items()
    }
    return {
        "entities": {name: plain[name] for name in spec.entities},
        "request": {name: plain[name] for name in spec.request},
    }


def _state(stores: Stores) -> dict[str, Any]:
    from pipelines.loop.summary import state

    return state(stores)
