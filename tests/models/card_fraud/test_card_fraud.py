"""Rules of card_fraud on a few weeks of its payments; no store and no server."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pandas as pd
import pytest

from pipelines import catalog
from pipelines.catalog import ModelSpec
from pipelines.settings import PROJECT
from pipelines.training.contract import check
from pipelines.training.train import baseline, estimator
from pipelines.upstream import connect

START, END = datetime(2018, 5, 1), datetime(2018, 5, 12)  # noqa: DTZ001 - the SQL's times are naive UTC
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return catalog.model("card_fraud")


@pytest.fixture(scope="module")
def silver() -> Iterator[duckdb.DuckDBPyConnection]:
    """The datasets as feature SQL sees them: what was known up to END, times naive UTC."""
    with connect(["card_transactions", "card_outcomes"]) as connection:
        for name in ("card_transactions", "card_outcomes"):
            connection.execute(
                f"create or replace table {name} as select * replace (happened_at::timestamp as happened_at,"
                f" available_at::timestamp as available_at) from {name} where available_at <= '{END}+00'"
            )
        yield connection


def computed(view: str, silver: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    return silver.execute((PROJECT / "feature_repo" / f"{view}.sql").read_text(), {"start": START}).df()


def test_the_estimator_keeps_its_contract(spec: ModelSpec) -> None:
    check(spec)


def test_no_label_counts_before_honest_payments_of_its_day_can(
    spec: ModelSpec, silver: duckdb.DuckDBPyConnection
) -> None:
    """Of payments not yet mature only frauds are told: learned from, they would say that all is fraud."""
    rows = silver.execute(spec.label_sql, {"horizon": spec.label.horizon}).df()
    assert rows["label"].sum() > 100
    assert (rows["label_known_at"] - rows["event_timestamp"] >= 28 * DAY).all()
    known, told = rows[rows["label_known_at"] <= END], rows[rows["event_timestamp"] > END - 28 * DAY]
    assert 0.001 < known["label"].mean() < 0.05
    assert len(told)
    assert told["label"].eq(1).all()


@pytest.mark.parametrize(
    ("view", "key", "days"), [("terminal_risk", "terminal_id", 28), ("customer_spending", "customer_id", 30)]
)
def test_features_count_what_had_been_paid_and_reported_by_then(
    view: str, key: str, days: int, silver: duckdb.DuckDBPyConnection
) -> None:
    """Against the plain count, at the moments of some rows: a fraud counts from its report, not from its payment."""
    found = computed(view, silver)
    paid, told = silver.table("card_transactions").df(), silver.table("card_outcomes").df()
    told = told[told["fraud"] == 1]
    assert found.duplicated([key, "event_timestamp"]).sum() == 0
    some = pd.concat([found.sample(60, random_state=0), found.nlargest(20, f"reports_{days}d")])
    assert (some[f"reports_{days}d"] > 0).any()
    for _, row in some.iterrows():
        now = row["event_timestamp"]
        mine, reports = (t[(t[key] == row[key]) & (t["available_at"] <= now)] for t in (paid, told))
        recent = mine[mine["available_at"] >= now - days * DAY]
        assert row[f"payments_{days}d"] == len(recent)
        assert row["payments_1d"] == (mine["available_at"] >= now - DAY).sum()
        assert row[f"reports_{days}d"] == (reports["available_at"] >= now - days * DAY).sum()
        mean = recent["amount"].mean() if len(recent) else np.nan
        assert row[f"mean_amount_{days}d"] == pytest.approx(mean, nan_ok=True)


def _features(view: str) -> list[str]:
    """The names in its Feast definition's schema, its key left out."""
    text = (PROJECT / "feature_repo" / f"{view}.py").read_text()
    return re.findall(r'Field\(\s*name="([a-z0-9_]+)",\s*dtype=Float64', text)


@pytest.fixture(scope="module")
def asked(spec: ModelSpec, silver: duckdb.DuckDBPyConnection) -> tuple[pd.DataFrame, pd.Series]:
    """Mature payments with made-up features that tell nothing, and their labels."""
    rows = silver.execute(spec.label_sql, {"horizon": spec.label.horizon}).df()
    rows = rows[rows["label_known_at"] <= END].reset_index(drop=True)
    names = [f"{view}__{feature}" for view in spec.features_by_view for feature in _features(view)]
    dice = np.random.default_rng(0)
    features = {name: dice.uniform(0, 9, len(rows)) for name in names}
    return rows[[*spec.entities, *spec.request]].assign(**features), rows["label"]


def test_it_answers_with_probabilities_also_when_every_feature_is_missing(
    spec: ModelSpec, asked: tuple[pd.DataFrame, pd.Series]
) -> None:
    inputs, labels = asked
    assert labels.sum() > 50
    small = spec.model_copy(update={"parameters": {**spec.parameters, "max_iter": 20}})
    model = estimator(small).fit(inputs, labels)
    without = inputs.assign(**{name: np.nan for name in inputs if "__" in name})
    for rows in (inputs, without):
        said = model.predict_proba(rows)[:, 1]
        assert ((said >= 0) & (said <= 1)).all()
    assert model.predict_proba(inputs)[:, 1].mean() == pytest.approx(labels.mean(), abs=0.003)
    assert np.array_equal(
        model.predict_proba(inputs), model.predict_proba(inputs.assign(customer_id="C99999"))
    )


def test_the_baseline_sees_no_feature(asked: tuple[pd.DataFrame, pd.Series]) -> None:
    inputs, labels = asked
    plain = baseline(catalog.model("card_fraud")).fit(inputs, labels)
    without = inputs.assign(**{name: np.nan for name in inputs if "__" in name})
    assert np.array_equal(plain.predict_proba(inputs), plain.predict_proba(without))
