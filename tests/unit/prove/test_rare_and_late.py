"""The proofs hold for models whose positives are rare and whose truth is late, too."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import duckdb
import pandas as pd

from pipelines.catalog import dataset, model
from pipelines.prove.features import as_of, leaks
from pipelines.prove.gates import bench, candidates


def test_few_rows_hold_both_labels_although_the_first_thousand_are_alike() -> None:
    labels = pd.Series([0] * 1000 + [1] * 3, index=range(5000, 6003))
    inputs = pd.DataFrame({"n": range(1003)}, index=labels.index)
    chosen, told = candidates._some(inputs, labels, 50)
    assert len(chosen) == 50
    assert told.sum() == 3
    assert (told == labels.loc[chosen.index]).all()


def test_a_leak_is_planted_on_an_outcome_or_else_on_a_number_that_is_no_flag() -> None:
    assert leaks._number(dataset("flights")) == "arrival_delay"
    assert leaks._number(dataset("card_outcomes")) == "amount"


def test_how_late_truth_is_lengthens_the_days_that_are_needed() -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            "create table card_outcomes as select 'C1' as customer_id, 'T1' as terminal_id, 9.0 as amount, 0 as fraud,"
            " timestamptz '2018-05-01 12:00:00Z' as happened_at, timestamptz '2018-05-03 12:00:00Z' as available_at"
        )
        source = SimpleNamespace(connection=connection)
        assert bench._lateness(model("card_fraud"), source) == timedelta(days=28)


def test_training_sets_are_asked_for_when_truths_came_out_not_before_any_did() -> None:
    asked = pd.date_range("2018-04-01", periods=40, freq="h", tz="UTC")
    rows = pd.DataFrame({"event_timestamp": asked, "label_known_at": asked + timedelta(days=28)})
    end = datetime(2018, 5, 2, tzinfo=UTC)
    chosen = as_of._known(rows, as_of.ASKED, end, 0)
    assert len(chosen) == as_of.ASKED
    assert all(rows["label_known_at"].min() <= moment < end for moment in chosen)
