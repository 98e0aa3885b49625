"""Rules of drift of the predictions: the champion's answers to what comes, against those it gave at its gate."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.contracts import DriftFinding
from pipelines.monitoring import predictions
from pipelines.monitoring.decay import held_out
from pipelines.monitoring.monitor import monitor
from pipelines.monitoring.moved import moved
from pipelines.monitoring.predictions import PREDICTION, predictions_moved
from pipelines.monitoring.watched import Watched
from pipelines.stores import Stores
from pipelines.training.answers import answers
from tests.logged import logged
from tests.retrainings import MODEL
from tests.training_sets import AS_OF, FEATURE, arrived, frame, spec

LATER = AS_OF + timedelta(days=28)


def found(stores: Stores, current: pd.DataFrame) -> DriftFinding | None:
    champion = stores.tracking.champion(MODEL)
    assert champion is not None
    model = stores.tracking.load(MODEL, champion.version)
    seen = Watched(frame(2000, 3, 2.0), arrived(), dict.fromkeys([FEATURE, "distance"], "numeric"))
    like = moved(spec(), champion, model, seen, seen.old, seen.new, stores).reference
    return predictions_moved(spec(), champion, model, current, LATER, 0.1, like, stores)


def said(stores: Stores, rows: pd.DataFrame) -> np.ndarray:
    return answers(stores.tracking.load(MODEL, 1), rows)


@pytest.mark.parametrize("seed", range(4))
def test_answers_as_at_the_gate_have_not_moved(watched: Stores, seed: int) -> None:
    rows = arrived(seed=seed)
    logged(watched, rows, said(watched, rows))
    assert (one := found(watched, arrived(0))) is not None
    assert (one.moved, one.family) == (False, PREDICTION)


def test_answers_that_shift_have_moved_and_ask_for_nothing_by_themselves(watched: Stores) -> None:
    rows = arrived(shift=1.0)
    logged(watched, rows, said(watched, rows))
    assert found(watched, arrived(0)).moved
    report = monitor(spec(), LATER, watched, frame(2000, 3, 2.0), arrived())
    own = [each for each in report.findings if each.family == PREDICTION]
    assert [each.moved for each in own] == [True]
    assert "the answers (" in report.explanation
    assert (report.drifted, report.drift_share) == (False, 0.0)
    assert "<td>the champion's answers, " in Path(report.html).read_text()


def test_degraded_answers_and_those_of_other_versions_do_not_count(watched: Stores) -> None:
    rows, good = arrived(shift=1.0), arrived(seed=8)
    logged(watched, rows, said(watched, rows), degraded=True)
    logged(watched, rows, said(watched, rows), version=2)
    assert found(watched, arrived(0)) is None
    logged(watched, good, said(watched, good))
    assert not found(watched, arrived(0)).moved


def test_where_nobody_asked_it_is_asked_the_newest_labelled_rows(watched: Stores) -> None:
    assert not found(watched, arrived()).moved
    assert found(watched, arrived(shift=1.0)).moved
    assert found(watched, arrived(199)) is None
    assert found(watched, arrived().drop(columns=FEATURE)) is None  # a dead feed


def test_rows_from_before_the_training_are_not_what_it_answered_since(watched: Stores) -> None:
    assert found(watched, frame(2000, 7, 2.0)) is None


def test_it_is_held_against_the_rows_of_the_gate_alone(
    watched: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it learned by heart is no standard: its answers to the rows that it learned from are surer."""
    asked = []

    def noted(model: object, rows: pd.DataFrame, outputs: int) -> object:
        asked.append(rows)
        return answers(model, rows, outputs)

    monkeypatch.setattr(predictions, "answers", noted)
    assert found(watched, arrived()) is not None
    champion = watched.tracking.champion(MODEL)
    assert [len(each) for each in asked] == [len(held_out(spec(), champion, watched))]
    assert found(watched, arrived()) is not None
    assert len(asked) == 1, "found out once per version"


def test_of_several_classes_the_likeliest_counts() -> None:
    of = spec().model_copy(update={"label": spec().label.model_copy(update={"classes": ("a", "b", "c")})})
    moments = pd.Series(pd.date_range("2013-01-01", periods=3, freq="h", tz="UTC"))
    kept = predictions._sketched(of, moments, np.asarray([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.3, 0.3]]))
    assert kept.of(PREDICTION).frequent() == {"a": 2, "c": 1}
