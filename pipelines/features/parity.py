"""Train/serve parity: what serving answered with, held against what the offline store says of the same moment."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.stores import Stores
from pipelines.stores.answers.predictions import Prediction

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 100
"""So many differences of a view are named; all are counted."""


@dataclass(frozen=True)
class Difference:
    """One value that serving had and the offline store does not confirm."""

    prediction_id: str
    feature: str
    entity: dict[str, Any]
    moment: datetime
    served: Any
    expected: Any

    def __str__(self) -> str:
        entity = ", ".join(f"{key} {value}" for key, value in self.entity.items())
        return (
            f"{self.feature.replace('__', ':', 1)} of {entity} at {self.moment.isoformat()}: served "
            f"{self.served}, the offline store says {self.expected} (prediction {self.prediction_id})"
        )


@dataclass(frozen=True)
class ViewParity:
    """One view's look-ups: one look-up is one entity at one moment, with all features asked of the view.

    `late` counts look-ups in which the newest rows say something else than was online: training will see what
    serving had not got yet.
    """

    view: str
    lookups: int
    values: int
    differences: int
    late: int
    unexplained: int
    examples: tuple[Difference, ...]


def parity(spec: ModelSpec, predictions: Sequence[Prediction], stores: Stores) -> list[ViewParity]:
    """Every logged feature against the offline store, read as far as it had come online at that time.

    A prediction that does not say how far that was counts as unexplained.
    """
    names: dict[str, dict[str, None]] = defaultdict(dict)
    for prediction in predictions:
        for name in prediction.features:
            names[name.split("__")[0]][name] = None
    return [_of_view(spec, view, list(wanted), predictions, stores) for view, wanted in names.items()]


def moment_of(spec: ModelSpec, prediction: Prediction) -> datetime | None:
    """When the prediction was due: the event's time less the label's horizon; None if no event time was given."""
    return None if prediction.event_time is None else prediction.event_time - spec.label.horizon


def _of_view(
    spec: ModelSpec, view: str, names: list[str], predictions: Sequence[Prediction], stores: Stores
) -> ViewParity:
    explained = [p for p in predictions if (p.known or {}).get(view)]
    found: list[Difference] = []
    late = 0
    for (number, table), asked in _by_version(view, explained).items():
        rows = _rows(spec, view, asked)
        pins = {stores.features.version(view, number).table: table}
        then = stores.features.historical(names, rows, {view: number}, pins)
        found += _differences(view, names, asked, rows, then, stores)
        now = stores.features.historical(names, rows, {view: number})
        late += sum(
            1 for a, b in zip(_cells(then, names), _cells(now, names), strict=True) if not _equal(a, b)
        )
    return ViewParity(
        view=view,
        lookups=len(explained),
        values=len(explained) * len(names),
        differences=len(found),
        late=late,
        unexplained=len(predictions) - len(explained),
        examples=tuple(found[:SHOWN]),
    )


def _by_version(view: str, predictions: Iterable[Prediction]) -> dict[tuple[int, int], list[Prediction]]:
    """Predictions by the version of the view, and of its table, that they were answered from."""
    groups: dict[tuple[int, int], list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        known = (prediction.known or {})[view]
        groups[known["version"], known["table"]].append(prediction)
    return groups


def _rows(spec: ModelSpec, view: str, predictions: Sequence[Prediction]) -> "pd.DataFrame":
    """The look-ups as entity rows, at the later of when the prediction was due and what was known."""
    import pandas as pd

    rows = pd.DataFrame([p.entities for p in predictions])
    moments = [_asked_at(spec, view, p) for p in predictions]
    return rows.assign(event_timestamp=pd.to_datetime(pd.Series(moments), utc=True))


def _asked_at(spec: ModelSpec, view: str, prediction: Prediction) -> datetime:
    known = datetime.fromisoformat((prediction.known or {})[view]["as_of"])
    return max(known, moment_of(spec, prediction) or known)


def _differences(
    view: str,
    names: list[str],
    asked: Sequence[Prediction],
    rows: "pd.DataFrame",
    then: "pd.DataFrame",
    stores: Stores,
) -> list[Difference]:
    keys = [key for key in stores.features.definition(stores.features.version(view)).join_keys if key in rows]
    found = []
    for at, (prediction, expected) in enumerate(zip(asked, _cells(then, names), strict=True)):
        for name, value in zip(names, expected, strict=True):
            if name in prediction.features and not _same(prediction.features[name], value):
                entity = {key: prediction.entities[key] for key in keys}
                moment = rows["event_timestamp"].iloc[at].to_pydatetime()
                served = prediction.features[name]
                found.append(Difference(prediction.prediction_id, name, entity, moment, served, value))
    return found


def _cells(frame: "pd.DataFrame", names: list[str]) -> list[tuple[Any, ...]]:
    """A frame's values row by row, as plain Python; what is missing is None."""
    plain = frame[names].astype(object)
    return list(plain.where(frame[names].notna(), None).itertuples(index=False, name=None))


def _equal(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    return all(_same(x, y) for x, y in zip(a, b, strict=True))


def _same(served: Any, expected: Any) -> bool:
    """To the bit, but for kinds of number: what is not a number is missing."""
    missing = [value is None or value != value for value in (served, expected)]
    return all(missing) if any(missing) else bool(served == expected)
