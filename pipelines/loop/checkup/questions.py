"""What a model is asked: the rows of label.sql, and whether a request says as much as they do."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from pipelines import catalog
from pipelines.catalog import ModelSpec
from pipelines.loop.checkup.faults import Fault
from pipelines.loop.checkup.files import line_of
from pipelines.stores import Stores
from pipelines.training.training_set import given

MOMENT = datetime(2013, 1, 1, tzinfo=UTC)
LINE = re.compile(r"LINE (\d+):")
TIMES = ("event_timestamp", "label_known_at")


def check(spec: ModelSpec, stores: Stores) -> Iterator[Fault]:
    """Whether label.sql runs, has the columns that a question needs and no other, and goes by the spec's horizon."""
    path = spec.folder / "label.sql"
    if not path.is_file():
        return
    yield from times(spec)
    columns = _columns(spec, stores)
    if isinstance(columns, Fault):
        yield columns
        return
    asked = {*spec.entities, *spec.request}
    for name in [*TIMES, "label", *asked]:
        if name not in columns:
            why = "entity or request field" if name in asked else "column"
            yield Fault(
                str(path), f"it does not give the {why} {name}", f"add it to its last select as {name}"
            )
    for name in sorted(set(columns) - asked - {*TIMES, "label"}):
        what = f"it gives {name}, which training would learn from and no request brings"
        yield Fault(
            f"{path}:{line_of(path, name)}", what, "leave it out, or name it under request in spec.yaml"
        )
    for name in TIMES:
        if name in columns and "TIMESTAMP" not in columns[name]:
            yield Fault(f"{path}:{line_of(path, name)}", f"{name} is {columns[name]}", "make it a timestamp")


def _columns(spec: ModelSpec, stores: Stores) -> dict[str, str] | Fault:
    """The columns of label.sql with their types, asked of tables without rows; or why it does not run."""
    import duckdb

    from pipelines.features import silver

    path, source = spec.folder / "label.sql", catalog.dataset(spec.label.dataset)
    connection = silver.connect(stores, [source], MOMENT, MOMENT)
    try:
        found = connection.execute(f"describe select * from ({spec.label_sql})", given(spec)).fetchall()
    except duckdb.Error as error:
        text = str(error)
        line = int(match[1]) if (match := LINE.search(text)) else 1
        return Fault(
            f"{path}:{line}", text.splitlines()[0], f"it may read {source.name} and no other dataset"
        )
    finally:
        connection.close()
    return {row[0]: row[1] for row in found}


def times(spec: ModelSpec) -> Iterator[Fault]:
    """Serving reckons horizon and age of features from the request's event time."""
    path, event = spec.folder / "spec.yaml", catalog.event_time(spec)
    if spec.features and spec.label.horizon and event not in spec.request:
        what = f"request has no {event}, the event_time of {spec.label.dataset}: no question says when its event is"
        remedy = f"name the request's time field {event}, or name it in label.event_time; else serving applies neither"
        remedy += " horizon nor age"
        yield Fault(f"{path}:{line_of(path, 'request:')}", what, remedy)
    if spec.label.horizon and not given(spec):
        what = f"the horizon of {spec.label.horizon} stands in spec.yaml, and label.sql does not use it"
        yield Fault(
            str(spec.folder / "label.sql"), what, "subtract $horizon from the event's time", breaks=False
        )
