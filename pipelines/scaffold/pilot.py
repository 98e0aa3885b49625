"""Which estimator fits the data: both are tried, as they would be written, on the rows to learn from alone."""

import importlib.util
import warnings
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipelines.scaffold.data.sources import Source
from pipelines.scaffold.design import Design
from pipelines.scaffold.files import landing
from pipelines.scaffold.files.rendering import parameters, rendered

if TYPE_CHECKING:
    import pandas as pd

MOST = 20_000
CUTS = ((0.4, 0.6), (0.6, 0.8), (0.8, 1.0))
"""Learned from what lies before the first, judged on what lies up to the second: three times, later each time."""
LUCK = 0.001
NOT_INPUT = ["event_timestamp", "label_known_at", "label"]


@dataclass(frozen=True)
class Tried:
    """The mean loss of one estimator, and that of the baseline on the same rows; of classes, the share it has right."""

    loss: float
    baseline: float
    right: float | None = None


def chosen(design: Design, source: Source, owner: str) -> Design:
    """The design with the estimator that loses less on rows which neither has seen; held-out rows stay unseen."""
    show(design, source)
    tried = {}
    for linear in (True, False):
        variant = replace(design, sizes=replace(design.sizes, linear=linear))
        texts = rendered(variant, source, owner)
        tried[linear] = _tried(variant, texts, _rows(variant, texts, source))
    linear = tried[True].loss < tried[False].loss
    measure = "root of the mean squared error" if design.answer.task == "regression" else "log loss"
    best, other = tried[linear], tried[not linear]
    why = (
        f"{measure} {best.loss:.4g} on rows to learn from; {'boosting' if linear else 'linear'} {other.loss:.4g},"
        f" baseline {best.baseline:.4g}"
    )
    reasons = design.reasons | {"estimator": ("linear" if linear else "gradient boosting", why)}
    sizes = replace(design.sizes, linear=linear, why=why)
    if best.right is not None:
        sizes = replace(sizes, believable=_believable(best.right, sizes.held))
    return replace(design, sizes=sizes, reasons=reasons)


def _believable(right: float, held: int) -> float | None:
    """Above what share of right predictions a leak is likelier than luck; None: the usual bound will do.

    It will where a model as good as this is right in every held-out row less than once in a thousand times; else
    nothing is beyond belief.
    """
    return None if right**held < LUCK else 1.0


def show(design: Design, source: Source) -> None:
    """Makes the landing rows a view of the dataset's name, times in naive UTC, as the model's SQL will see them."""
    times = [c.name for c in design.columns if c.kind == "timestamp"] + [
        t for t in design.added if t == design.time
    ]
    naive = ", ".join(f"cast({each} as timestamp) as {each}" for each in dict.fromkeys(times))
    replaced = f" replace ({naive})" if naive else ""
    source.connection.execute(
        f"create or replace temp view {design.name} as select *{replaced} from ({landing.rows(design)})"
    )


def _rows(design: Design, texts: dict[str, str], source: Source) -> "pd.DataFrame":
    """The newest rows to learn from, with their features as of their moment, as training would have them."""
    label = texts[f"pipelines/models/{design.name}/label.sql"]
    cut = (design.span[1] - design.sizes.holdout).replace(tzinfo=None)
    view = texts.get(f"feature_repo/{design.name}_history.sql")
    asked: dict[str, Any] = {"cut": cut}
    asked |= {"horizon": design.horizon} if "$horizon" in label else {}
    joined = f"select * from ({label})"
    if view:
        asked["start"] = (design.span[0] - timedelta(days=1)).replace(tzinfo=None)
        names = ", ".join(f'h."{n}" as "{design.name}_history__{n}"' for n in _features(texts, design))
        on = " and ".join(f"l.{key} = h.{key}" for key in design.keys)
        joined = (
            f"select l.*, {names} from ({label}) l asof left join ({view}) h on {on}"
            " and l.event_timestamp >= h.event_timestamp"
        )
    query = f"select * from ({joined}) where label_known_at < $cut order by event_timestamp desc limit {MOST}"
    rows: pd.DataFrame = source.connection.execute(query, asked).df()
    for name in rows.select_dtypes("datetime"):
        rows[name] = rows[name].dt.tz_localize("UTC")
    return rows.iloc[::-1].reset_index(drop=True)


def _features(texts: dict[str, str], design: Design) -> list[str]:
    from pipelines.scaffold.files.history import history

    return [feature.name for feature in history(design).features]


def _tried(design: Design, texts: dict[str, str], rows: "pd.DataFrame") -> Tried:
    import numpy as np

    module = _module(texts[f"pipelines/models/{design.name}/estimator.py"])
    losses = []
    for first, last in CUTS:
        learned, judged = rows[: int(len(rows) * first)], rows[int(len(rows) * first) : int(len(rows) * last)]
        made = (module.build(parameters(design)["parameters"]), module.baseline())
        losses.append([_loss(each, learned, judged, design) for each in made])
    if design.answer.task != "multiclass":
        return Tried(*(float(loss) for loss in np.nanmean(np.array(losses)[..., 0], axis=0)))
    found = np.nanmean(np.array(losses), axis=0)
    return Tried(float(found[0][0]), float(found[1][0]), float(found[0][1]))


def _loss(model: Any, learned: "pd.DataFrame", judged: "pd.DataFrame", design: Design) -> tuple[float, float]:
    """Log loss or the root of the mean squared error, and the share of classes that is right; nothing where the rows to
    learn from have one answer."""
    import numpy as np
    from sklearn.metrics import log_loss, root_mean_squared_error

    nothing = float("nan")
    if learned["label"].nunique() < 2 or judged.empty:
        return nothing, nothing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = model.fit(learned.drop(columns=NOT_INPUT), learned["label"])
        asked = judged.drop(columns=NOT_INPUT)
        if design.answer.task == "regression":
            return float(root_mean_squared_error(judged["label"], fitted.predict(asked))), nothing
        if design.answer.classes:
            return _loss_of_classes(fitted, asked, judged["label"], design)
        said = np.clip(fitted.predict_proba(asked)[:, 1], 1e-6, 1 - 1e-6)
        return float(log_loss(judged["label"], said, labels=[0, 1])), nothing


def _loss_of_classes(
    fitted: Any, asked: "pd.DataFrame", labels: "pd.Series[Any]", design: Design
) -> tuple[float, float]:
    """The log loss of the class that happened, and the share that is right; a class nobody has seen had no chance."""
    import numpy as np

    known, said = list(fitted.classes_), fitted.predict_proba(asked)
    columns = [
        said[:, known.index(each)] if each in known else np.zeros(len(said)) for each in design.answer.classes
    ]
    found = np.column_stack(columns)
    truth = labels.map({each: at for at, each in enumerate(design.answer.classes)}).to_numpy()
    chance = np.clip(found[np.arange(len(found)), truth], 1e-6, 1)
    return float(-np.log(chance).mean()), float((found.argmax(axis=1) == truth).mean())


def _module(text: str) -> Any:
    """The estimator's code as a module of its own, not yet part of the project."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "estimator.py"
        path.write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location("piloted_estimator", path)
        assert spec is not None  # noqa: S101 - the file is there
        assert spec.loader is not None  # noqa: S101
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module
