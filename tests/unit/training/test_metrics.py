"""Rules of the metrics that models are judged by."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from pipelines.catalog.gate_spec import METRICS
from pipelines.training.many_classes import are_probabilities, recalls
from pipelines.training.metrics import calibration_error, defined, measure, measures
from tests.judging import CLASSES, of_classes

DRAW = np.random.default_rng(0)
LABELS, SAID = DRAW.integers(0, 2, 500).astype(float), DRAW.random(500)
OF_CLASSES = of_classes(0, 500)
MEASURED = [(name, task) for name, (tasks, _) in METRICS.items() for task in tasks]


@pytest.mark.parametrize("task", ["classification", "multiclass", "regression"])
def test_every_metric_of_a_task_is_measured_and_none_of_the_other(task: str) -> None:
    answered = OF_CLASSES[:2] if task == "multiclass" else (LABELS, SAID)
    found = set(measures(task, *answered)) - {"rows", "prevalence"}
    assert found == {name for name, of in MEASURED if of == task}
    assert found


@pytest.mark.parametrize(("metric", "task"), MEASURED)
def test_the_truth_itself_is_as_good_as_a_metric_goes(metric: str, task: str) -> None:
    """And the catalog knows which way is better."""
    labels, right, wrong = LABELS, LABELS, 1 - LABELS
    if task == "multiclass":
        labels = OF_CLASSES[0]
        right, wrong = (np.eye(len(CLASSES))[(labels.astype(int) + by) % len(CLASSES)] for by in (0, 1))
    perfect, poor = measure(metric, labels, right), measure(metric, labels, wrong)
    assert perfect == pytest.approx(1.0 if METRICS[metric][1] else 0.0)
    assert (perfect > poor) is METRICS[metric][1]


def test_metrics_are_those_of_scikit_learn() -> None:
    assert measure("roc_auc", LABELS, SAID) == metrics.roc_auc_score(LABELS, SAID)
    assert measure("f1", LABELS, SAID) == metrics.f1_score(LABELS, SAID >= 0.5)
    assert measure("accuracy", LABELS, SAID) == metrics.accuracy_score(LABELS, SAID >= 0.5)
    assert measure("rmse", LABELS, SAID) == metrics.mean_squared_error(LABELS, SAID) ** 0.5
    assert measure("median_ae", LABELS, SAID) == np.median(abs(LABELS - SAID))


def test_metrics_of_classes_are_those_of_scikit_learn() -> None:
    labels, said, _ = OF_CLASSES
    taken, every = said.argmax(axis=1), range(len(CLASSES))
    assert measure("log_loss", labels, said) == pytest.approx(metrics.log_loss(labels, said, labels=every))
    assert measure("brier", labels, said) == pytest.approx(
        metrics.brier_score_loss(labels, said, labels=every)
    )
    assert measure("roc_auc", labels, said) == metrics.roc_auc_score(
        labels, said, multi_class="ovr", average="macro"
    )
    assert measure("f1", labels, said) == metrics.f1_score(labels, taken, average="macro")
    assert measure("accuracy", labels, said) == metrics.accuracy_score(labels, taken)
    assert measure("balanced_accuracy", labels, said) == metrics.balanced_accuracy_score(labels, taken)


def test_a_class_that_never_happened_is_neither_found_nor_missed() -> None:
    labels, said, _ = OF_CLASSES
    there = labels != 1
    taken = said[there].argmax(axis=1)
    assert measure("balanced_accuracy", labels[there], said[there]) == pytest.approx(
        metrics.recall_score(labels[there], taken, labels=[0, 2, 3], average="macro")
    )
    assert np.isnan(recalls(labels[there], said[there])[1])
    assert np.isfinite(list(measures("multiclass", labels[there], said[there]).values())).all()


@given(st.integers(0, 10_000), st.sampled_from(["short", "long", "below", "above", "gap", "narrow"]))
def test_only_probabilities_of_every_class_that_sum_to_one_are_probabilities(seed: int, how: str) -> None:
    said = of_classes(seed, 20)[1]
    assert are_probabilities(said, len(CLASSES))
    broken, row = said.copy(), seed % 20
    if how == "narrow":
        broken = said[:, :-1]
    elif how in ("below", "above"):
        broken[row, :2] += np.array([2.0, -2.0]) * (1 if how == "below" else -1)
    else:
        broken[row, 0] += {"short": -1e-5, "long": 1e-5, "gap": np.nan}[how]
    assert not are_probabilities(broken, len(CLASSES))


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
