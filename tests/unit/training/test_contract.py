"""Rules of estimator.py's contract: what is wrong with one is said with file and line, before anything is joined."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from pipelines import catalog
from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError
from pipelines.training.contract import check, fitted, says_inputs


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    monkeypatch.setattr(ModelSpec, "folder", property(lambda _: tmp_path))
    return catalog.model("flight_delays")


def test_the_examples_estimator_keeps_it() -> None:
    assert check(catalog.model("flight_delays")).endswith("estimator.py")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def baseline(): ...", r"estimator.py:1: there is no function build\(parameters\)"),
        ("def build(parameters): ...", r"there is no function baseline\(\)"),
        (
            "\ndef build(): ...\ndef baseline(): ...",
            r"estimator.py:2: build must take what build\(parameters\) gives",
        ),
        ("def build(parameters): ...\ndef baseline(rows): ...", "estimator.py:2: baseline must take"),
        ("def build(parameters:\n", "estimator.py:1: "),
    ],
)
def test_what_it_lacks_is_named_with_its_line(spec: ModelSpec, text: str, said: str) -> None:
    (spec.folder / "estimator.py").write_text(text)
    with pytest.raises(EvergreenError, match=said):
        check(spec)


def test_a_missing_file_is_named(spec: ModelSpec) -> None:
    with pytest.raises(
        EvergreenError, match=r"estimator.py is missing; write build\(parameters\) and baseline\(\)"
    ):
        check(spec)


def test_a_fitted_model_must_say_which_columns_it_takes(spec: ModelSpec) -> None:
    (spec.folder / "estimator.py").write_text("\n\ndef build(parameters): ...\n")
    with pytest.raises(EvergreenError, match=r"estimator.py:3: .*feature_names_in_"):
        says_inputs(spec, object())


def test_columns_without_any_value_are_named_where_the_model_cannot_take_them(spec: ModelSpec) -> None:
    rows = pd.DataFrame({"seats": np.arange(50.0), "wind": np.nan})
    with pytest.raises(EvergreenError, match=r"cannot be fitted to 50 rows.*no row has a value of wind: see"):
        fitted(spec, HistGradientBoostingRegressor(max_iter=2), rows, rows["seats"])


def test_an_estimator_that_fails_is_told_with_its_own_line(spec: ModelSpec) -> None:
    path = spec.folder / "estimator.py"
    path.write_text("class Model:\n    def fit(self, rows, labels):\n        return rows['gone']\n")
    names = runpy.run_path(str(path))
    rows = pd.DataFrame({"seats": np.arange(50.0)})
    with pytest.raises(EvergreenError, match=r"estimator.py:3: .*50 rows: KeyError: 'gone'; mend"):
        fitted(spec, names["Model"](), rows, rows["seats"])
