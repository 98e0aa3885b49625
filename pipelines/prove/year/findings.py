"""What the answers were worth, beside those that the first champion would have given to the same questions."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.gate.intervals import Improvement, paired_improvement
from pipelines.monitoring.truth import KNOWN, answered
from pipelines.prove.year.story import Script
from pipelines.serving.metrics import Metrics
from pipelines.serving.predictor import Predictor
from pipelines.serving.served import Found, Question
from pipelines.stores import Stores
from pipelines.stores.answers.predictions import Prediction

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95
AT_ONCE = 5000
SHOWN = 3
FROZEN = 1
"""The first version that was trained; nobody has touched it since."""
BETTER, WORSE, SAME, UNSURE = "better", "worse", "the same", "INCONCLUSIVE"


def answers(spec: ModelSpec, script: Script, log: Sequence[Prediction], stores: Stores) -> "pd.DataFrame":
    """A row of each logged answer, as `truth.answered` gives it, with `frozen`: what the first champion says to it."""
    logged = stores.predictions.between(spec.name, script.begin, script.told)
    rows = answered(spec, logged, script.told, stores)
    ids = [each.prediction_id for each in log]
    said = dict(zip(ids, asked_again(spec, FROZEN, log, stores), strict=True))
    return rows.assign(frozen=rows["prediction_id"].map(said), said=rows["said"].astype("float64"))


def asked_again(spec: ModelSpec, version: int, log: Sequence[Prediction], stores: Stores) -> list[float]:
    """What a version says to logged questions with the features as they were logged, by serving's own code."""
    predictor = Predictor(spec, stores.tracking, stores.features, Metrics())
    found = stores.tracking.version(spec.name, version)
    served = predictor.warmed(found, stores.tracking.licence(found))
    questions = (_question(predictor, each) for each in log)
    said: list[float] = []
    while some := list(islice(questions, AT_ONCE)):
        for answer in predictor.answers(served, some):
            if isinstance(answer, Exception):
                raise answer
            said.append(float(answer))  # type: ignore[arg-type]
    return said


def _question(predictor: Predictor, logged: Prediction) -> Question:
    body = {"entities": logged.entities, "request": logged.request}
    return predictor.request_model.model_validate(body).model_dump(), Found(logged.features, [])


def by_month(rows: "pd.DataFrame", retrainings: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row of each month of events, and one of all of them."""
    months = rows["event_timestamp"].dt.strftime("%Y-%m")
    for month in sorted(months.unique()):
        own = [each for each in retrainings if each["moment"].startswith(month)]
        yield {"month": month, **_figures(rows[months == month]), "retrained": _counted(own)}
    yield {"month": "all", **_figures(rows), "retrained": _counted(retrainings)}


def _figures(rows: "pd.DataFrame") -> dict[str, Any]:
    known = rows[rows["state"] == KNOWN]
    loss, frozen_loss, less = compared(known, "log_loss")
    area, frozen_area, more = compared(known, "roc_auc")
    return {
        "answers": f"{len(rows):,}",
        "truth known": f"{len(known) / len(rows):.1%}",
        "log loss": f"{loss:.4f}, frozen {frozen_loss:.4f}",
        "less by": shown(less),
        "AUC": f"{area:.4f}, frozen {frozen_area:.4f}",
        "more by": shown(more),
        "the champions are": verdict(less),
    }


def gained(rows: "pd.DataFrame") -> Improvement:
    """How much smaller the log loss of the served answers is, where the truth is known."""
    return compared(rows[rows["state"] == KNOWN], "log_loss")[2]


def compared(known: "pd.DataFrame", metric: str) -> tuple[float, float, Improvement]:
    """The metric of the served answers, of the frozen model's, and how much better the served ones are.

    The interval is paired by answer; the answers of a day (UTC) are left out together.
    """
    from pipelines.training.metrics import measure

    labels, ours, frozen = (known[name].to_numpy("float64") for name in ("label", "said", "frozen"))
    days = known["event_timestamp"].dt.floor("D").astype("int64").to_numpy()
    found = paired_improvement(metric, labels, ours, frozen, days, CONFIDENCE)
    return measure(metric, labels, ours), measure(metric, labels, frozen), found


def shown(found: Improvement) -> str:
    return f"{found.mean + 0.0:+.4f} ({found.low:+.4f} to {found.high:+.4f})"


def verdict(found: Improvement) -> str:
    """Beyond doubt better or worse, the same to the bit, or nobody knows."""
    if found.low == found.high == 0:
        return SAME
    if found.low > 0:
        return BETTER
    return WORSE if found.high < 0 else UNSURE


def _counted(retrainings: Sequence[dict[str, Any]]) -> str:
    trained = [each for each in retrainings if each["trained"]]
    causes = sorted({cause for each in trained for cause in each["causes"]})
    promoted = sum(each["promoted"] for each in trained)
    return f"{len(trained)} ({', '.join(causes)}), {promoted} promoted" if trained else "0"
