"""The training set: a question asked as of a moment."""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec, dataset, event_time
from pipelines.contracts import EvergreenError, NothingToDo, TrainingSet
from pipelines.stores import Stores
from pipelines.stores.locks import at_work
from pipelines.stores.tracking.registry import file_digest

HORIZON = re.compile(r"\$horizon\b")
"""In label.sql: the label.horizon of spec.yaml."""

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.stores.tracking.registry import Version


def build(
    spec: ModelSpec,
    as_of: datetime,
    stores: Stores,
    views: Mapping[str, int] | None = None,
    versions: Mapping[str, int] | None = None,
) -> TrainingSet:
    """Labels known at `as_of`, each with the features known when its prediction would have been made.

    The newest `holdout` of them are the gate's. Rows whose truth came out after the hold-out began are
    in neither part: they were open questions at that moment. The same question has the same digest and
    is answered once. `views` names other versions of feature views than the current ones, `versions` other
    Delta versions than the newest: those of a TrainingSet give its rows again, to the bit.
    """
    numbers = stores.features.pinned(stores.features.feature_names(spec), views or {})
    given = dict(versions) if versions else _versions(spec, numbers, stores)
    digest = question(spec.digest, as_of, given)
    path = path_of(spec.name, digest, stores)
    if not path.exists():
        with at_work(stores.settings):
            rows = labels(spec, as_of, stores, given[f"silver/{spec.label.dataset}"])
            with stores.files.whole(path) as part:
                _joined(spec, rows, numbers, given, stores).to_parquet(part, index=False)
    return _described(spec, as_of, digest, path, given)


def path_of(model: str, digest: str, stores: Stores) -> Path:
    """Where the rows of a training set lie."""
    path = stores.settings.home / "training_sets" / model / f"{digest}.parquet"
    return stores.files.fetch(path, fixed=True)


def _joined(
    spec: ModelSpec,
    rows: "pd.DataFrame",
    numbers: Mapping[str, int],
    versions: Mapping[str, int],
    stores: Stores,
) -> "pd.DataFrame":
    tables = {
        name.removeprefix("features/"): v for name, v in versions.items() if name.startswith("features/")
    }
    return stores.features.historical(stores.features.feature_names(spec), rows, numbers, tables)


def labels(
    spec: ModelSpec,
    as_of: datetime,
    stores: Stores,
    version: int | None = None,
    since: datetime | None = None,
) -> "pd.DataFrame":
    """label.sql's entity rows within the training window, with `split`: train or holdout.

    One whose label.sql lets it count only later than it landed, `label_known_at`, waits for that.
    `version` is the Delta version of silver that is read, by default the newest; with `since` only what was known
    after that is read.
    """
    from pipelines.features import silver

    connection = silver.connect(stores, [dataset(spec.label.dataset)], as_of, since, version)
    start, held = as_of - spec.training.window, as_of - spec.training.holdout
    rows = connection.execute(
        f"""
        with labels as ({spec.label_sql})
        select *, if(event_timestamp >= $held, 'holdout', 'train') as split
        from labels
        where event_timestamp > $start and label_known_at <= $as_of
            and (event_timestamp >= $held or label_known_at < $held)
        order by all
        """,
        {"start": silver.utc(start), "held": silver.utc(held), "as_of": silver.utc(as_of)} | given(spec),
    ).df()
    if rows.empty:
        raise EvergreenError(f"{spec.name}: no labels were known at {as_of}; land {spec.label.dataset} first")
    _asked_in_time(spec, rows)
    return _in_utc(_counted(spec, rows))


def _asked_in_time(spec: ModelSpec, rows: "pd.DataFrame") -> None:
    """EvergreenError if label.sql asks its questions nearer to the event than serving does, by the spec's horizon."""
    event, horizon = event_time(spec), spec.label.horizon
    if event in rows and (rows["event_timestamp"] > rows[event] - horizon).any():
        raise EvergreenError(
            f"{spec.folder}/label.sql asks later than label.horizon ({horizon}) of spec.yaml before {event}, so its"
            f" rows know what nobody knows when serving is asked; write `{event} - $horizon as event_timestamp`"
        )


def _counted(spec: ModelSpec, rows: "pd.DataFrame") -> "pd.DataFrame":
    """Labels as the places of their classes in the spec's order, from 0; EvergreenError names one that is none."""
    classes = spec.label.classes
    if not classes:
        return rows
    known: dict[Any, int] = {each: place for place, each in enumerate(classes)}
    words = isinstance(classes[0], str)
    found = rows["label"].astype("object")
    foreign = [each for each in found.unique() if isinstance(each, str) is not words or each not in known]
    if foreign:
        shown = ", ".join(repr(each) for each in foreign[:5])
        raise EvergreenError(
            f"{spec.folder}/label.sql gives {shown}, which is none of label.classes in spec.yaml"
            f" ({', '.join(map(repr, classes))}); name it there, or leave such rows out in label.sql"
        )
    return rows.assign(label=found.map(known).astype("int64"))


def _in_utc(rows: "pd.DataFrame") -> "pd.DataFrame":
    for name in rows.select_dtypes("datetime"):
        rows[name] = rows[name].dt.tz_localize("UTC").astype("datetime64[us, UTC]")
    return rows


def _versions(spec: ModelSpec, numbers: Mapping[str, int], stores: Stores) -> dict[str, int]:
    """The Delta version of every table the answer is read from."""
    views = [stores.features.version(view, number).table for view, number in sorted(numbers.items())]
    tables = [("silver", spec.label.dataset), *(("features", table) for table in views)]
    return {f"{layer}/{name}": _version(layer, name, stores) for layer, name in tables}


def _version(layer: str, name: str, stores: Stores) -> int:
    version = stores.tables.version(layer, name)
    if version is None:
        remedy = "land its files" if layer == "silver" else "run `evergreen features compute`"
        raise EvergreenError(f"table {layer}/{name} does not exist yet; {remedy}")
    return version


def question(spec_digest: str, as_of: datetime, versions: Mapping[str, int]) -> str:
    """The digest of what is asked: by which spec, as of when, of which Delta versions."""
    asked = {"model": spec_digest, "as_of": as_of.isoformat(), "versions": dict(versions)}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _described(
    spec: ModelSpec, as_of: datetime, digest: str, path: Path, versions: Mapping[str, int]
) -> TrainingSet:
    import pandas as pd

    rows = pd.read_parquet(path, columns=["label", "split"])
    train, held = rows[rows.split == "train"], rows[rows.split == "holdout"]
    return TrainingSet(
        model=spec.name,
        as_of=as_of,
        digest=digest,
        path=str(path),
        rows=len(train),
        positives=int(train.label.sum()) if spec.task == "classification" else None,
        holdout_start=as_of - spec.training.holdout,
        holdout_rows=len(held),
        versions=dict(versions),
        content=file_digest(path),
    )


def observed(spec: ModelSpec, as_of: datetime, stores: Stores) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """What the champion was trained on, and the labelled rows of the monitor's window before `as_of`."""
    import pandas as pd

    champion = stores.tracking.champion(spec.name)
    if champion is None:
        raise NothingToDo(f"{spec.name} has no champion to watch yet")
    digest = champion.tags["training_set"]
    path = path_of(spec.name, digest, stores)
    if not path.exists():
        raise EvergreenError(
            f"{path} is gone; rebuild it with `evergreen train {spec.name} --as-of {champion.as_of}`"
        )
    reference = pd.read_parquet(path)
    recent = labels(spec, as_of, stores)
    recent = recent[recent.event_timestamp > as_of - spec.monitor.window]
    learned = reference[reference.split == "train"]
    return learned, recent if recent.empty else as_served(spec, recent, champion, stores)


def as_served(spec: ModelSpec, rows: "pd.DataFrame", version: "Version", stores: Stores) -> "pd.DataFrame":
    """Entity rows with the features of a model version, from the view versions that it was trained on."""
    model = stores.tracking.load(spec.name, version.version)
    columns = getattr(model, "feature_names_in_", None)
    names = stores.features.feature_names(spec) if columns is None else spec.features_among(columns)
    return stores.features.historical(names, rows, version.views)


def given(spec: ModelSpec) -> dict[str, timedelta]:
    """The parameters that label.sql asks for."""
    return {"horizon": spec.label.horizon} if HORIZON.search(spec.label_sql) else {}


def month_of(spec: ModelSpec, month: str, version: "Version", stores: Stores) -> "pd.DataFrame":
    """All labelled rows of a month such as 2013-07, which must lie after the version's training."""
    trained = version.as_of
    try:
        start = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        raise EvergreenError(f"month {month!r} is not like 2013-07") from None
    if start < trained - timedelta(hours=1):
        raise EvergreenError(
            f"the version knew rows up to {trained}; {month} is not after that, name a later month"
        )
    end = (start + timedelta(days=32)).replace(day=1)
    rows = labels(spec, end + timedelta(days=2), stores)
    rows = rows[(rows.event_timestamp >= start) & (rows.event_timestamp < end)]
    if rows.empty:
        raise EvergreenError(f"no labelled row of {month} has landed; replay and ingest that month first")
    return as_served(spec, rows, version, stores)
