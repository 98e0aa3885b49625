"""Candidates that must not become champion, each bad in one way, and the rule that has to say so."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from pipelines.catalog import ModelSpec
from pipelines.contracts import Candidate, TrainingSet
from pipelines.gate.case import with_columns
from pipelines.gate.slicing import slices
from pipelines.prove.gates import pieces
from pipelines.prove.gates.bench import Bench, Fit
from pipelines.training import train
from pipelines.training.answers import NOT_INPUT
from pipelines.training.checkout import libraries
from pipelines.training.many_classes import decided

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SEED = 1
RARE = 0.05
"""Below this share of positives, four times as many would still be few."""


@dataclass(frozen=True)
class Bad:
    """`plant` gives the candidate and the rows it is judged on; a rule whose name holds `rule` must not pass.

    `applies` says whether the spec declares what the case is about.
    """

    name: str
    rule: str
    plant: Callable[[Bench], tuple[Candidate, TrainingSet | None]]
    applies: Callable[[ModelSpec], bool] = lambda spec: True


def _fitted(fit: Fit) -> Callable[[Bench], tuple[Candidate, TrainingSet | None]]:
    return lambda bench: (bench.plant(fit), None)


def _on(name: str, change: Callable[[Bench, "pd.DataFrame"], "pd.DataFrame"]) -> Any:
    """Planted and judged on a training set that somebody changed."""

    def plant(bench: Bench) -> tuple[Candidate, TrainingSet | None]:
        rows = bench.altered(name, lambda data: change(bench, data))
        return bench.plant(rows=rows), rows

    return plant


def _own(spec: ModelSpec, **changed: Any) -> Any:
    from pipelines.prove.gates.bench import estimator

    return estimator(spec, **changed)


def _dice() -> "np.random.Generator":
    import numpy as np

    return np.random.default_rng(SEED)


def tied(spec: ModelSpec, inputs: "pd.DataFrame", labels: Any) -> Any:
    return _own(spec, random_state=SEED + int(spec.parameters.get("random_state") or 0)).fit(inputs, labels)


def worse(spec: ModelSpec, inputs: "pd.DataFrame", labels: Any) -> Any:
    """Learned from one row in twelve."""
    chosen = _dice().permutation(len(inputs))[: max(200, len(inputs) // 12)]
    return _own(spec).fit(inputs.iloc[chosen], labels.iloc[chosen])


def shuffled(spec: ModelSpec, inputs: "pd.DataFrame", labels: Any) -> Any:
    return _own(spec).fit(inputs, labels.to_numpy()[_dice().permutation(len(labels))])


def inverted(spec: ModelSpec, inputs: "pd.DataFrame", labels: Any) -> Any:
    return _own(spec).fit(inputs, labels.max() + labels.min() - labels)


def swapped(spec: ModelSpec, inputs: "pd.DataFrame", labels: Any) -> Any:
    """Takes the two most frequent classes for each other."""
    one, other = labels.value_counts().index[:2]
    return _own(spec).fit(inputs, labels.replace({one: other, other: one}))


def blind(spec: ModelSpec, inputs: "pd.DataFrame", labels: Any) -> Any:
    """Has never seen the rarest class, and never predicts it."""
    seen = (labels != labels.value_counts().index[-1]).to_numpy()
    return _own(spec).fit(inputs[seen], labels[seen])


def constant(spec: ModelSpec, inputs: "pd.DataFrame", labels: Any) -> Any:
    return _alone(pieces.constant(spec)).fit(inputs, labels)


def not_a_number(spec: ModelSpec, inputs: "pd.DataFrame", labels: Any) -> Any:
    import numpy as np

    model = _alone(pieces.constant(spec)).fit(inputs, labels)
    said = "constant_" if spec.task == "regression" else "class_prior_"
    setattr(model[-1], said, np.full_like(getattr(model[-1], said), np.nan))
    return model


def _alone(last: Any) -> Any:
    from sklearn.pipeline import Pipeline

    return Pipeline([("last", last)])


def miscalibrated(spec: ModelSpec, inputs: "pd.DataFrame", labels: Any) -> Any:
    """Every positive four times, a rare one twelve times: the order of answers stays, what they promise does not. Of
    many classes, two rows in five are said to be of the most frequent."""
    import numpy as np

    if spec.outputs > 1:
        return _own(spec).fit(inputs, labels.where(_dice().random(len(labels)) > 0.4, labels.mode()[0]))
    times = 4 if labels.mean() > RARE else 12
    many = np.repeat(np.arange(len(labels)), np.where(labels == 1, times, 1))
    return _own(spec).fit(inputs.iloc[many], labels.iloc[many])


def regressed(spec: ModelSpec, inputs: "pd.DataFrame", labels: Any) -> Any:
    """Has learned nothing about the slice in which there is most to learn: where its labels differ most."""
    parts = slices(inputs, spec.gate.slices.columns[0])
    mine = max(parts, key=lambda part: part.rows * _spread(spec, labels[part.mask])).mask
    mixed = labels.to_numpy().copy()
    mixed[mine] = _dice().permutation(mixed[mine])
    return _own(spec).fit(inputs, mixed)


def _spread(spec: ModelSpec, labels: Any) -> float:
    """How much labels differ: the variance of numbers, and how often two draws of a class are not the same."""
    if spec.task == "regression":
        return float(labels.var())
    return 1 - float((labels.value_counts(normalize=True) ** 2).sum())


def unfair(spec: ModelSpec, inputs: "pd.DataFrame", labels: Any) -> Any:
    """Has learned that the smallest large group always has the lowest label."""
    column, counts = spec.gate.fairness[0].group, inputs[spec.gate.fairness[0].group].value_counts()
    group = counts[counts > len(inputs) / 20].index[-1]
    return _own(spec).fit(inputs, labels.where((inputs[column] != group).to_numpy(), labels.min()))


def backwards(spec: ModelSpec, inputs: "pd.DataFrame", labels: Any) -> Any:
    """Reads a column, whose direction is declared, the wrong way round and above all others."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    asked = spec.gate.behaviour.directions[0]
    column, by = next(iter(asked.add.items()))
    chosen = make_column_transformer((make_pipeline(SimpleImputer(), StandardScaler()), [column]))
    model = make_pipeline(chosen, pieces.linear(spec)).fit(inputs, labels)
    wrong = -1.0 if (asked.expect in ("up", "not_down")) == (by > 0) else 1.0
    model[-1].coef_ = wrong * (abs(model[-1].coef_) + 1) * _sides(asked.of, model)
    return model


def _sides(named: object, model: Any) -> Any:
    """Of many classes, those that are not named move the other way; of a number and of two classes there is one."""
    import numpy as np

    classes = getattr(model, "classes_", ())
    return np.where(classes == named, 1.0, -1.0)[:, None] if len(classes) > 2 else 1.0


def nosy(spec: ModelSpec, inputs: "pd.DataFrame", labels: Any) -> Any:
    """Learns from a column whose name alone must not matter."""
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    columns = list(spec.gate.behaviour.invariances[0].change)
    hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False, max_categories=200)
    return make_pipeline(make_column_transformer((hot, columns)), pieces.linear(spec)).fit(inputs, labels)


def slow(spec: ModelSpec, inputs: "pd.DataFrame", labels: Any) -> Any:
    """Takes twice as long for an answer as it may."""
    many = pieces.crowd(spec, int(spec.gate.serving.p99_ms / 6) + 1)
    return _ending(spec, many).fit(*_some(inputs, labels, 2000))


def heavy(spec: ModelSpec, inputs: "pd.DataFrame", labels: Any) -> Any:
    """A network of nine million weights."""
    return _ending(spec, pieces.network(spec, 3000)).fit(*_some(inputs, labels, 500))


def _some(inputs: "pd.DataFrame", labels: Any, count: int) -> "tuple[pd.DataFrame, pd.Series[Any]]":
    """So many rows, labels taking turns: the first ones may all have the same where one of them is rare."""
    first = labels.groupby(labels).cumcount().sort_values(kind="stable").index[:count]
    return inputs.loc[first], labels.loc[first]


def _ending(spec: ModelSpec, last: Any) -> Any:
    """The model's own steps, with an estimator at the end that wants every value to be there."""
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline

    return Pipeline([*_own(spec).steps[:-1], ("fill", SimpleImputer()), ("last", last)])


def extra_column(spec: ModelSpec, inputs: "pd.DataFrame", labels: Any) -> Any:
    return _own(spec).fit(inputs.assign(loyalty_points=_dice().random(len(inputs))), labels)


def unseeded(spec: ModelSpec, inputs: "pd.DataFrame", labels: Any) -> Any:
    """Learned from a draw of the rows that it kept to itself: nobody can make it again."""
    drawn = _dice().integers(0, len(inputs), len(inputs))
    return _own(spec).fit(inputs.iloc[drawn], labels.iloc[drawn])


def memorised(bench: Bench) -> tuple[Candidate, None]:
    """Has seen the held-out rows."""
    import pandas as pd

    data = pd.read_parquet(bench.rows.path)
    inputs = data.drop(columns=list(NOT_INPUT))
    return bench.plant(lambda spec, _inputs, _labels: _own(spec).fit(inputs, data["label"])), None


def stale(bench: Bench) -> tuple[Candidate, TrainingSet]:
    return bench.plant(rows=bench.earlier), bench.earlier


def old_library(bench: Bench) -> tuple[Candidate, None]:
    with patch.object(train, "libraries", lambda: {**libraries(), "scikit-learn": "1.5.0"}):
        return bench.plant(), None


def other_rows(bench: Bench) -> tuple[Candidate, TrainingSet]:
    """Registered with one training set, judged on another."""
    return bench.plant(tied), bench.earlier


def itself(bench: Bench) -> tuple[Candidate, None]:
    """The champion's own file, registered again."""
    tracking = bench.stores.tracking
    model = tracking.load(bench.spec.name, bench.champion or 0)
    return bench.plant(lambda *_: model), None


def _leak(bench: Bench, data: "pd.DataFrame") -> "pd.DataFrame":
    """The answer in a feature."""
    numbers = [str(c) for c in data if c not in NOT_INPUT and data[c].dtype.kind == "f"]
    column = next((name for name in numbers if "__" in name), numbers[0])
    return with_columns(data, {column: data["label"].astype("float64")})


def _own_predictions(bench: Bench, data: "pd.DataFrame") -> "pd.DataFrame":
    """What was answered, in the place of what happened, among the rows to learn from."""
    from pipelines.training.answers import answers

    champion = bench.stores.tracking.load(bench.spec.name, bench.champion or 0)
    said = answers(champion, data, bench.spec.outputs)
    if bench.spec.task == "multiclass":
        said = decided(said)
    if bench.spec.task == "classification":
        said = (said >= bench.spec.threshold).astype(int)
    return data.assign(label=data["label"].where(data["split"] == "holdout", said))


def _judged_by_itself(bench: Bench, data: "pd.DataFrame") -> "pd.DataFrame":
    """What was answered, in the place of what happened, everywhere."""
    own = _own_predictions(bench, data.assign(split="train"))
    return own.assign(split=data["split"])


def _few(bench: Bench, data: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    held = data[data["split"] == "holdout"].head(bench.spec.gate.minimum_rows - 1)
    return pd.concat([data[data["split"] == "train"], held], ignore_index=True)


def _few_hours(bench: Bench, data: "pd.DataFrame") -> "pd.DataFrame":
    """Many rows, all of a few hours."""
    hours = data["event_timestamp"].dt.floor("h")
    held = data["split"] == "holdout"
    busiest = hours[held].value_counts().index[: bench.spec.gate.minimum_blocks - 1]
    kept: pd.DataFrame = data[~held | hours.isin(busiest)].reset_index(drop=True)
    return kept


def _edited_rows(bench: Bench, data: "pd.DataFrame") -> "pd.DataFrame":
    """Rows that no table holds: the easier half, twice."""
    import pandas as pd

    held = data[data["split"] == "holdout"]
    return pd.concat([data, held.head(len(held) // 2)], ignore_index=True)


def _asks_of_each(spec: ModelSpec) -> bool:
    return spec.gate.each_class is not None and spec.gate.each_class.recall > 0


BETTER, REBUILD = "than the champion's", "made again"
CANDIDATES: tuple[Bad, ...] = (
    Bad("tied: the champion's twin with another seed", BETTER, _fitted(tied)),
    Bad("worse: learned from a twelfth of the rows", BETTER, _fitted(worse)),
    Bad("learned shuffled labels", "floor", _fitted(shuffled)),
    Bad("answers the wrong way round", "floor", _fitted(inverted)),
    Bad("answers a constant", "than the baseline's", _fitted(constant)),
    Bad("answers NaN", "sound answers", _fitted(not_a_number)),
    Bad("takes two classes for each other", "is found", _fitted(swapped), _asks_of_each),
    Bad("never predicts the rarest class", "is found", _fitted(blind), _asks_of_each),
    Bad("miscalibrated: one answer told of far too often", "calibration", _fitted(miscalibrated),
        lambda s: s.gate.calibration is not None and s.task != "regression"),
    Bad("a slice regressed", "slice", _fitted(regressed), lambda s: bool(s.gate.slices.columns)),
    Bad("unfair to a group", "fairness", _fitted(unfair), lambda s: bool(s.gate.fairness)),
    Bad("a direction reversed", "behaviour", _fitted(backwards),
        lambda s: bool(s.gate.behaviour.directions)),
    Bad("looks at what must not matter", "behaviour", _fitted(nosy),
        lambda s: bool(s.gate.behaviour.invariances)),
    Bad("slow: dozens of forests a question", "slowest of a hundred", _fitted(slow),
        lambda s: s.gate.serving.p99_ms <= 500),
    Bad("heavy: a file larger than allowed", "file size", _fitted(heavy),
        lambda s: s.gate.serving.megabytes <= 60),
    Bad("wrong schema: a column serving does not have", "inputs serving can give", _fitted(extra_column)),
    Bad("wrong library: written by another scikit-learn", "libraries", old_library),
    Bad("stale: knows less than the champion", "staler", stale),
    Bad("the champion's own file again", BETTER, itself),
    Bad("judged on rows it was not registered with", "own training set", other_rows),
    Bad("leaky: the answer is in a feature", "believable", _on("leak", _leak)),
    Bad("judged by labels that are the champion's answers", "believable", _on("self", _judged_by_itself)),
    Bad("too few held-out rows", "enough rows", _on("few", _few)),
    Bad("all held-out rows from a few hours", "enough hours", _on("hours", _few_hours)),
    Bad("trained on the champion's answers", REBUILD, _on("own", _own_predictions)),
    Bad("rows that no table holds", REBUILD, _on("edited", _edited_rows)),
    Bad("has seen the held-out rows", REBUILD, memorised),
    Bad("cannot be made again: a draw of rows it kept to itself", REBUILD, _fitted(unseeded)),
)  # fmt: skip
