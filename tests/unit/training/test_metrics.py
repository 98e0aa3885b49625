"""Rules of the metrics that models are judged by."""

import numpy as np
import pytest
from sklearn import metrics

from pipelines.catalog.gate_spec import METRICS
from pipelines.training.metrics import calibration_error, defined, measure, measures

DRAW = np.random.default_rng(0)
LABELS, SAID = DRAW.integers(0, 2, 500).astype(float), DRAW.random(500)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_metric_of_a_task_is_measured_and_none_of_the_other(task: str) -> None:
    found = set(measures(task, LABELS, SAID)) - {"rows", "prevalence"}
    assert found == {name for name, (of, _) in METRICS.items() if of == task}
    assert found


@pytest.mark.parametrize("metric", METRICS)
def test_the_truth_itself_is_as_good_as_a_metric_goes(metric: str) -> None:
    """And the catalog knows which way is better."""
    perfect, poor = measure(metric, LABELS, LABELS), measure(metric, LABELS, 1 - LABELS)
    assert perfect == pytest.approx(1.0 if METRICS[metric][1] else 0.0)
    assert (perfect > poor) is METRICS[metric][1]


def test_metrics_are_those_of_scikit_learn() -> None:
    assert measure("roc_auc", LABELS, SAID) == metrics.roc_auc_score(LABELS, SAID)
    assert measure("f1", LABELS, SAID) == metrics.f1_score(LABELS, SAID >= 0.5)
    assert measure("accuracy", LABELS, SAID) == metrics.accuracy_score(LABELS, SAID >= 0.5)
    assert measure("rmse", LABELS, SAID) == metrics.mean_squared_error(LABELS, SAID) ** 0.5
    assert measure("median_ae", LABELS, SAID) == np.median(abs(LABELS - SAID))


def test_a_calibration_error_is_the_mean_gap_over_equally_filled_bins() -> None:
    said = np.r_[np.full(100, 0.2), np.full(100, 0.8)]
    happened = np.r_[np.zeros(70), np.ones(30), np.zeros(40), np.ones(60)]
    assert calibration_error(happened, said, 2) == pytest.approx((0.1 + 0.2) / 2)


@pytest.mark.parametrize("labels", [np.array([]), np.ones(5), np.zeros(5)])
def test_labels_of_one_class_or_none_measure_no_classification(labels: np.ndarray) -> None:
    assert not defined("classification", labels)
    assert "roc_auc" not in measures("classification", labels, np.full(len(labels), 0.5))


def test_answers_that_are_no_numbers_are_not_measured() -> None:
    assert set(measures("classification", LABELS, np.full(500, np.nan))) == {"rows", "prevalence"}
