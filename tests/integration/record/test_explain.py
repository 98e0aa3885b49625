"""Rules of following a prediction back, and of asking who was champion."""

import json
import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines import catalog
from pipelines.cli import app
from pipelines.contracts import EvergreenError
from pipelines.gate import record
from pipelines.ingestion.arrivals import kept as archived
from pipelines.record.champion_history import who_was_champion
from pipelines.record.explain import explain
from pipelines.stores import Stores
from pipelines.stores.answers.predictions import Prediction
from tests.integration.stores.test_predictions import FIRST
from tests.retrainings import MODEL, copied, crowned
from tests.training_sets import spec

SECOND = timedelta(seconds=1)


@pytest.fixture
def kept(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Stores:
    """Stores whose version 1 is champion."""
    small = spec()
    monkeypatch.setattr(catalog, "model", lambda name: small)
    return copied(crowned(tmp_path_factory), tmp_path)


def since(stores: Stores) -> datetime:
    [entry] = stores.audit.entries(f"champion:{MODEL}", "promote")
    return entry.at


@pytest.fixture
def asked(kept: Stores) -> Prediction:
    """A prediction of the champion, all of whose links are there."""
    champion = kept.tracking.champion(MODEL)
    [batch] = kept.ledger.batches()
    archived(batch, kept).parent.mkdir(parents=True)
    archived(batch, kept).write_bytes(b"as it landed")
    how_far = {"version": 1, "as_of": "2013-03-31T00:00:00+00:00", "table": 7}
    made = replace(
        FIRST, version=champion.version, digest=champion.digest, asked_at=since(kept) + SECOND,
        features={"origin_weather__visib": 10.0}, known={"origin_weather": how_far},
    )  # fmt: skip
    kept.predictions.record(made)
    return made


def test_a_prediction_leads_back_to_everything_it_stands_on(kept: Stores, asked: Prediction) -> None:
    told = explain(asked.prediction_id, kept)
    assert told["missing"] == []
    version = kept.tracking.champion(MODEL)
    assert told["prediction"]["answer"] == asked.answer
    assert told["features"][0] | {"values": 0} == {
        "view": "origin_weather", "version": 1, "as_of": "2013-03-31T00:00:00+00:00", "table": 7, "values": 0,
    }  # fmt: skip
    assert told["version"]["digest"] == told["licence"]["digest"] == version.digest
    assert (told["licence"]["decision"], told["gate"]["decision"]) == ("PASS", "PASS")
    assert told["licence"]["record"] == told["gate"]["record"] == version.tags[record.DIGEST]
    assert told["training_set"]["digest"] == version.tags["training_set"]
    assert told["training"]["git_commit"]
    assert told["training"]["lock_digest"]
    assert told["training"]["reasons"]
    assert [batch["name"] for batch in told["batches"]] == ["first.csv"]
    assert told["champion_then"]["version"] == version.version


def test_the_tree_shows_every_part_and_json_is_the_same_story(kept: Stores, asked: Prediction) -> None:
    shown = CliRunner().invoke(app, ["explain", asked.prediction_id], env={"COLUMNS": "300"})
    assert shown.exit_code == 0, shown.output
    for part in (
        "answer",
        "origin_weather@v1",
        "licence PASS",
        "gate PASS",
        "training set",
        "code ",
        "first.csv",
    ):
        assert part in shown.stdout
    assert "nothing is missing" in shown.stdout
    plain = CliRunner().invoke(app, ["explain", asked.prediction_id, "--json"])
    assert json.loads(plain.stdout) == explain(asked.prediction_id, kept)


def test_each_missing_link_is_named(kept: Stores, asked: Prediction) -> None:
    version = kept.tracking.champion(MODEL)
    record.path_of(MODEL, version.version, kept).unlink()
    archived(kept.ledger.batches()[0], kept).unlink()
    (kept.settings.home / "training_sets" / MODEL / f"{version.tags['training_set']}.parquet").unlink()
    kept.predictions.record(replace(asked, prediction_id="other", digest="b" * 64, known=None))
    missing = explain("other", kept)["missing"]
    for what in (
        "decision record",
        "file first.csv",
        "training set",
        "is now another file",
        "origin_weather",
    ):
        assert any(what in said for said in missing), what
    assert len(missing) == 5
    shown = CliRunner().invoke(app, ["explain", "other"], env={"COLUMNS": "300"})
    assert "MISSING" in shown.stdout


def test_an_answer_without_a_view_that_was_not_online_says_which(kept: Stores, asked: Prediction) -> None:
    lost = replace(
        asked, prediction_id="lost", degraded=True, features={"origin_weather__visib": None},
        known={"origin_weather": None},
    )  # fmt: skip
    kept.predictions.record(lost)
    told = explain("lost", kept)
    assert told["missing"] == ["features: nothing of origin_weather was online"]
    assert told["features"] == [{"view": "origin_weather", "values": {"visib": None}}]


def test_a_version_that_is_gone_is_named_and_the_answer_is_still_told(
    kept: Stores, asked: Prediction
) -> None:
    kept.predictions.record(replace(asked, prediction_id="gone", version=99))
    told = explain("gone", kept)
    assert told["prediction"]["answer"] == asked.answer
    assert any("has no version 99" in said for said in told["missing"])


def test_a_prediction_nobody_made_is_an_error(kept: Stores) -> None:
    with pytest.raises(EvergreenError, match="no prediction"):
        explain("none", kept)


def test_who_was_champion_is_told_with_since_by_whom_and_why(kept: Stores) -> None:
    found = who_was_champion(MODEL, since(kept), kept)
    assert (found["version"], found["decision"], found["until"]) == (1, "PASS", None)
    assert found["who"] == kept.audit.entries(action="promote")[0].who
    with pytest.raises(EvergreenError, match="had no champion at"):
        who_was_champion(MODEL, since(kept) - SECOND, kept)
    shown = CliRunner().invoke(app, ["who-was-champion", MODEL, "--at", since(kept).isoformat()])
    assert shown.exit_code == 0, shown.output
    assert "version 1" in shown.stdout


def test_a_moment_that_is_none_is_an_error_in_a_sentence(kept: Stores) -> None:
    shown = CliRunner().invoke(app, ["who-was-champion", MODEL, "--at", "yesterday"])
    assert shown.exit_code == 1
    assert "is not a time" in shown.stderr


def test_nothing_is_answered_from_a_log_that_was_changed(kept: Stores, asked: Prediction) -> None:
    with sqlite3.connect(kept.settings.home / "evergreen.db") as connection:
        assert connection.execute("UPDATE audit SET who = 'eve' WHERE action = 'promote'").rowcount == 1
    connection.close()
    with pytest.raises(EvergreenError, match="nothing is answered from it"):
        who_was_champion(MODEL, since(kept), kept)
    assert any("champion then" in said for said in explain(asked.prediction_id, kept)["missing"])


def test_nothing_is_answered_from_a_log_that_was_put_back_with_its_anchor(kept: Stores) -> None:
    """MLflow remembers how far the log had come when the version was judged."""
    at = since(kept)
    assert kept.tracking.client.get_registered_model(MODEL).tags["audit_head"] == str(kept.audit.head)
    with sqlite3.connect(kept.settings.home / "evergreen.db") as connection:
        connection.execute("DELETE FROM audit")
    connection.close()
    kept.audit.anchor.unlink()
    with pytest.raises(EvergreenError, match="gone from the end"):
        who_was_champion(MODEL, at, kept)
