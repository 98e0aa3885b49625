"""Rules of explaining a logged answer by the version that gave it: the same sum as served, from verified files."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from pipelines import catalog
from pipelines.catalog import ModelSpec
from pipelines.cli import app
from pipelines.contracts import EvergreenError
from pipelines.promotion.retire import _logged
from pipelines.record import registered_files
from pipelines.record.contributions import contributions
from pipelines.serving.__main__ import _backgrounds
from pipelines.serving.schemas import example, request_model
from pipelines.serving.served import Found, answers_of, rows
from pipelines.stores import Stores
from pipelines.stores.answers.predictions import Prediction
from pipelines.stores.audit.licences import origin
from pipelines.stores.tracking.background import DIGEST, FILE
from pipelines.stores.tracking.registry import Version
from pipelines.training.background import ROWS, drawn
from pipelines.training.training_set import path_of
from tests.integration.stores.test_predictions import FIRST
from tests.retrainings import MODEL, copied, crowned
from tests.training_sets import spec


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    found = spec()
    monkeypatch.setattr(catalog, "model", lambda name: found)
    return found


@pytest.fixture
def kept(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return copied(crowned(tmp_path_factory), tmp_path)


@pytest.fixture
def version(kept: Stores) -> Version:
    found = kept.tracking.champion(MODEL)
    assert found is not None
    return found


@pytest.fixture
def asked(kept: Stores, version: Version, small: ModelSpec) -> Prediction:
    """An answer of the champion's to the spec's example, as serving logs it."""
    pipeline = kept.tracking.fitted(version)
    body = request_model(small).model_validate(example(small)).model_dump()
    features = dict.fromkeys(small.features_among(pipeline.feature_names_in_), 1.5)
    (answer,) = answers_of(pipeline, (), rows(small, [(body, Found(features, []))], pipeline))
    made = replace(
        FIRST, version=version.version, digest=version.digest, answer=answer, features=features,
        entities=dict(body["entities"]), request=dict(body["request"]),
    )  # fmt: skip
    kept.predictions.record(made)
    return made


def test_a_version_keeps_rows_it_was_trained_on_as_they_were(
    kept: Stores, version: Version, small: ModelSpec
) -> None:
    found = kept.tracking.background(version)
    learned = pd.read_parquet(path_of(MODEL, version.tags["training_set"], kept)).query("split == 'train'")
    columns = list(kept.tracking.fitted(version).feature_names_in_)
    assert len(found) == min(ROWS, len(learned)) == ROWS
    wanted = drawn(learned[columns].reset_index(drop=True), version.tags["training_set"])
    pd.testing.assert_frame_equal(found, wanted)
    assert list(registered_files.wrong(version, False, kept)) == []


def test_a_logged_answer_is_a_sum_and_the_command_shows_it(kept: Stores, asked: Prediction) -> None:
    told = contributions(asked.prediction_id, kept)
    parts = [each["contribution"] for each in told["contributions"]]
    assert told["base"] + sum(parts) == pytest.approx(asked.answer, abs=1e-12)
    assert max(map(abs, parts)) > 0
    run = ["explain", asked.prediction_id, "--contributions"]
    shown = CliRunner().invoke(app, run, env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    for part in (
        "answer",
        f"mean answer to {ROWS} rows",
        told["contributions"][0]["input"],
        "standard error",
    ):
        assert part in shown.stdout
    assert json.loads(CliRunner().invoke(app, [*run, "--json"]).stdout) == told


def test_an_answer_of_another_file_or_other_fields_is_refused(kept: Stores, asked: Prediction) -> None:
    changes = {
        "another file": {"digest": "b" * 64},
        "other fields": {"request": {"distance": 7}},
        "other fields or features": {"features": {}},
        "give this answer again": {"answer": asked.answer / 2},
    }
    for said, change in changes.items():
        kept.predictions.record(replace(asked, prediction_id=said, **change))
        with pytest.raises(EvergreenError, match=said):
            contributions(said, kept)
    with pytest.raises(EvergreenError, match="no prediction"):
        contributions("nobody's", kept)


def test_rows_that_were_changed_are_found_out_and_not_used(
    kept: Stores, version: Version, asked: Prediction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contributions(asked.prediction_id, kept)
    copy = kept.settings.home / "models" / MODEL / str(version.version) / FILE
    before = copy.read_bytes()
    copy.write_bytes(before + b" ")
    assert [str(copy) in said for said in registered_files.wrong(version, False, kept)] == [True]
    contributions(asked.prediction_id, kept)  # fetched again
    assert copy.read_bytes() == before
    foreign = tmp_path / "foreign.parquet"
    foreign.write_bytes(before + b" ")
    copy.unlink()
    plain = type(kept.tracking).fetched
    monkeypatch.setattr(
        type(kept.tracking),
        "fetched",
        lambda self, uri, to: foreign if uri.endswith(FILE) else plain(self, uri, to),
    )
    assert [DIGEST in said for said in registered_files.wrong(version, False, kept)] == [True]
    with pytest.raises(EvergreenError, match="changed after training and is refused"):
        contributions(asked.prediction_id, kept)


def test_a_version_from_before_rows_were_kept_says_what_to_do(kept: Stores, version: Version) -> None:
    tags = {name: value for name, value in version.tags.items() if name != DIGEST}
    with pytest.raises(EvergreenError, match="refused"):
        kept.tracking.background(replace(version, tags=tags))
    older = replace(version, tags=tags | origin(replace(version, tags=tags), kept.keys))
    with pytest.raises(EvergreenError, match="without background rows; train it again"):
        kept.tracking.background(older)
    assert DIGEST not in registered_files.mlflow_uris(older)


def test_serving_reads_the_rows_of_the_very_file_that_answers(kept: Stores, version: Version) -> None:
    found = _backgrounds(kept, 30.0)
    rows = found(MODEL, version.version, version.digest)
    pd.testing.assert_frame_equal(rows, kept.tracking.background(version))
    with pytest.raises(EvergreenError, match="another file now"):
        found(MODEL, version.version, "b" * 64)


def test_a_retirement_takes_the_rows_along(kept: Stores, version: Version) -> None:
    assert [each.path for each in _logged(version, kept) if each.path.endswith(".parquet")] == [FILE]
