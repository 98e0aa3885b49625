"""Rules of the second making: once per question, kept under this deployment's signature, and believed with it alone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines import catalog
from pipelines.contracts import EvergreenError
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.training import rebuild
from pipelines.training.answers import digest_of
from pipelines.training.train import train
from pipelines.training.training_set import build
from tests.integration.conftest import AS_OF
from tests.once import copied_home

REAL = catalog.model("flight_delays")
SPEC = REAL.model_copy(
    update={
        "training": REAL.training.model_copy(update={"minimum_rows": 500}),
        "parameters": {**REAL.parameters, "max_iter": 20},
    }
)


@pytest.fixture(scope="module")
def trained(computed: Stores, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one version, trained on real flights, and its second making kept."""
    home = tmp_path_factory.mktemp("rebuilt")
    copied_home(computed.settings.home, home)
    stores = Stores(Settings(_env_file=None, home=home))
    rows = build(SPEC, AS_OF, stores)
    assert rows.holdout_rows > 500
    rebuild.keep(rebuild.planned(SPEC, rows, stores), SPEC, stores)
    assert train(SPEC, rows, stores).version == 1
    return home


@pytest.fixture
def own(trained: Path, tmp_path: Path) -> Stores:
    """A copy to break; MLflow stays where it is."""
    copied_home(trained, tmp_path)
    return Stores(Settings(_env_file=None, home=tmp_path))


def asked(stores: Stores) -> rebuild.Question:
    return rebuild.recorded(SPEC, stores.tracking.version("flight_delays", 1), stores)


def unmade(*_: object) -> None:
    raise AssertionError("it was made again")


def test_what_is_planned_before_a_training_is_what_its_record_asks(own: Stores) -> None:
    rows = build(SPEC, AS_OF, own)
    assert rebuild.planned(SPEC, rows, own) == asked(own)


def test_it_comes_out_as_the_version_did_and_is_made_once(own: Stores, monkeypatch) -> None:
    monkeypatch.setattr(rebuild, "make", unmade)
    version = own.tracking.version("flight_delays", 1)
    again = rebuild.rebuilt(SPEC, version, own)
    assert len(again.answers) > 500
    assert again.rows == version.tags["training_rows"]
    assert digest_of(again.answers) == version.tags["answers_digest"]
    assert rebuild.keep(asked(own), SPEC, own).rows == again.rows


@pytest.mark.parametrize(
    "other", ["parameters", "tables", "names", "threads", "as_of", "views", "spec_digest"]
)
def test_another_question_is_another_making(own: Stores, other: str) -> None:
    was = asked(own)
    changed = {
        "parameters": {**was.parameters, "max_iter": 21},
        "tables": {**was.tables, "silver/flights": -1},
        "names": was.names[1:],
        "threads": was.threads + 1,
        "as_of": was.as_of.replace(year=2014),
        "views": {**was.views, "aircraft": 9},
        "spec_digest": "another",
    }
    assert rebuild.kept(was, own) is not None
    assert rebuild.kept(replace(was, **{other: changed[other]}), own) is None


def test_changed_code_is_another_question(own: Stores, monkeypatch) -> None:
    was = asked(own)
    monkeypatch.setattr(rebuild, "code", lambda: "other code")
    assert rebuild.kept(was, own) is None


def _edited(path: Path) -> None:
    """One answer is another."""
    table = pq.read_table(path)
    answers = table["answers"].to_pylist()
    answers[0] += 1e-9
    pq.write_table(table.set_column(0, "answers", [answers]), path)


def _renamed_rows(path: Path) -> None:
    """It speaks of other rows."""
    table = pq.read_table(path)
    said = json.loads(table.schema.metadata[rebuild.MARK]) | {"rows": "0" * 64}
    pq.write_table(table.replace_schema_metadata({rebuild.MARK: json.dumps(said)}), path)


def _unsigned(path: Path) -> None:
    pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize("hand", [_edited, _renamed_rows, _unsigned, _cut, Path.unlink])
def test_what_is_not_as_it_was_signed_counts_for_nothing(own: Stores, hand) -> None:
    path = rebuild.path_of(asked(own), own)
    assert rebuild.kept(asked(own), own) is not None
    hand(path)
    assert rebuild.kept(asked(own), own) is None


def test_the_making_of_one_question_does_not_answer_another(own: Stores) -> None:
    was = asked(own)
    other = replace(was, parameters={**was.parameters, "max_iter": 21})
    shutil.copy(rebuild.path_of(was, own), rebuild.path_of(other, own))
    assert rebuild.kept(other, own) is None


def test_another_deployments_signature_counts_for_nothing(own: Stores, tmp_path_factory) -> None:
    stranger = Stores(own.settings.model_copy(update={"keys": tmp_path_factory.mktemp("keys")}))
    stranger.keys.sign(b"they have a key of their own")
    assert rebuild.kept(asked(own), stranger) is None


def test_rows_that_are_gone_are_named(own: Stores) -> None:
    gone = replace(asked(own), tables={**asked(own).tables, "features/carrier_delays/v1": 99})
    with pytest.raises(EvergreenError, match=r"carrier_delays/v1 has no version 99"):
        rebuild.make(gone, SPEC, own)
