"""Feature views that read the future, each in its own way, and honest ones that only look alike."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from pipelines.catalog import DatasetSpec, ModelSpec, dataset
from pipelines.contracts import EvergreenError

VIEW = "planted"
MODULE = '''"""A planted view."""

from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource
from feast.data_format import DeltaFormat
from feast.types import Float64, String
from feast.value_type import ValueType

{entity} = Entity(name="planted_key", join_keys=["{key}"], value_type=ValueType.STRING)
planted = FeatureView(
    name="planted",
    entities=[{entity}],
    ttl=timedelta(0),
    schema=[Field(name="{key}", dtype=String), Field(name="{feature}", dtype=Float64)],
    source=FileSource(
        name="planted",
        path="features/planted",
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
)
'''


@dataclass(frozen=True)
class Leak:
    """One planted view: what it does, its feature as view:feature, its SQL, and whether it is honest after all."""

    what: str
    name: str
    sql: str
    honest: bool = False


def leaks(spec: ModelSpec) -> list[Leak]:
    """Views over the dataset of a model's labels, by one of its entities and one of its numbers."""
    source = dataset(spec.label.dataset)
    key, number = entity_of(spec), _number(source)
    known, happened = f'"{source.available_at}"', f'"{source.event_time}"'
    by = f'over (partition by "{key}" order by {known}'
    over = ", ".join([by, *(f'"{name}"' for name in source.key)])  # no tie is left to chance
    following = f"{by} range between current row and interval 6 hours following)"
    return [
        _leak("the next value", "next_value", f'lead("{number}") {over})', source, key),
        _leak("the mean of all time", "mean_ever", f'avg("{number}") over (partition by "{key}")', source, key),
        _leak("the mean of the next six hours", "mean_ahead", f'avg("{number}") {following}', source, key),
        _leak("the share of the largest ever", "share", f'"{number}" / max("{number}") over ()', source, key),
        _leak("how many come after", "left_over", f'count(*) over (partition by "{key}") - row_number() {over})',
              source, key),
        Leak("a value at a time before it was known", VIEW,
             _sql(f'cast("{number}" as double) as early', source, key, happened)),
        _leak("the value before (honest)", "previous", f'lag("{number}") {over})', source, key, honest=True),
        _leak("the mean so far (honest)", "mean_so_far", f'avg("{number}") {over} rows unbounded preceding)',
              source, key, honest=True),
    ]  # fmt: skip


def entity_of(spec: ModelSpec) -> str:
    """An entity of the model that its label's dataset has as a column, the one with the fewest values by habit."""
    source = dataset(spec.label.dataset)
    for name, column in source.columns.items():
        if name in spec.entities and column.type == "string":
            return name
    raise EvergreenError(
        f"{spec.name}: no entity is a text column of {source.name}; a view cannot be planted"
    )


def _number(source: DatasetSpec) -> str:
    """A number that is no key, preferably one that only the outcome tells; a flag would have no largest value."""
    numbers = [n for n, c in source.columns.items() if c.type in ("integer", "float") and n not in source.key]
    if not numbers:
        raise EvergreenError(f"{source.name} has no number that is not a key; a view cannot be planted")
    told = [n for n in reversed(numbers) if source.columns[n].nullable]
    return next(
        iter([*told, *(n for n in reversed(numbers) if source.columns[n].type == "float"), numbers[-1]])
    )


def _leak(what: str, feature: str, value: str, source: DatasetSpec, key: str, honest: bool = False) -> Leak:
    known = f'"{source.available_at}"'
    sql = _sql(f"cast({value} as double) as {feature}", source, key, known)
    return Leak(what, f"{VIEW}:{feature}", sql, honest)


def _sql(value: str, source: DatasetSpec, key: str, moment: str) -> str:
    """One row for each key and moment, so that no tie decides anything."""
    return f"""-- A planted view.
-- look_back: 400 days
select "{key}", {value}, {moment} as event_timestamp, {moment} as created_timestamp
from {source.name}
where "{key}" is not null
qualify row_number() over (partition by "{key}", {moment} order by {", ".join(f'"{k}"' for k in source.key)}) = 1
    and {moment} > $start
"""


def written(spec: ModelSpec, leak: Leak, repo: Path, to: Path) -> Path:
    """A copy of the feature repository with the planted view in it."""
    shutil.copytree(repo, to, ignore=shutil.ignore_patterns("__pycache__"))
    key = entity_of(spec)
    feature = leak.name.partition(":")[2] or "early"
    (to / f"{VIEW}.sql").write_text(leak.sql)
    (to / f"{VIEW}.py").write_text(MODULE.format(entity="planted_key", key=key, feature=feature))
    return to
