"""The loop works below any folder a person may have, and says the same there as anywhere."""

import shutil
import time
from pathlib import Path

import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from pipelines import catalog
from pipelines.contracts import BatchState, Decision
from pipelines.features import compute
from pipelines.gate import evaluate
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.ingestion.quarantine import release
from pipelines.loop.doctor import examine
from pipelines.promotion.promote import promote
from pipelines.serving.app import create_app
from pipelines.serving.schemas import example
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.training.differences import lost
from pipelines.training.train import train
from pipelines.training.training_set import build
from tests import training_sets
from tests.integration.conftest import AS_OF
from tests.once import copied_home

DATA = Path(__file__).parents[2] / "data"
REAL = catalog.model("flight_delays")
NAMES = [
    "it's 50% off #1",
    'é ü "q" & {x}+y',
    "a=b/carrier=UA: $5, 100%",
    "日本 ~ (copy); `x` <1>",
    "a: b #c",
]


def at(folder: Path) -> Stores:
    return Stores(Settings(_env_file=None, home=folder))


@pytest.mark.parametrize("name", NAMES)
def test_files_are_taken_in_refused_and_released_below_any_folder(tmp_path: Path, name: str) -> None:
    stores = at(tmp_path / name)
    landing = stores.settings.landing_path
    landing.mkdir(parents=True)
    shutil.copy(DATA / "flights_broken_row.csv", landing / "flights_1.csv")
    shutil.copy(DATA / "flights_missing_column.csv", landing / "flights_2.csv")
    pq.write_table(pacsv.read_csv(DATA / "flights_good.csv").slice(5, 5), landing / "flights_3.parquet")
    found = {result.name: result for result in ingest_dataset(catalog.dataset("flights"), stores)}
    assert [found[f"flights_{n}"].state for n in ("1.csv", "2.csv")] == ["archived", "refused"]
    assert (found["flights_1.csv"].silver, found["flights_1.csv"].quarantined) == (29, 1)
    assert found["flights_3.parquet"].state.ended
    assert release(found["flights_2.csv"], stores, "try again").state is BatchState.REFUSED
    assert stores.tables.silver(catalog.dataset("flights")).to_table(["carrier"])["carrier"][0].as_py()
    assert stores.audit.verify() == []
    assert [f for f in examine(stores.settings) if not f["ok"]] == []


def test_features_and_training_set_are_the_same_below_any_folder(
    january: Path, computed: Stores, tmp_path: Path
) -> None:
    """Three of the names are folders of one path: computing all of it for each would say no more."""
    home = tmp_path.joinpath(*NAMES[:3])
    copied_home(january, home)
    stores = at(home)
    assert compute.compute(AS_OF, stores).rows
    here, there = build(REAL, AS_OF, stores), build(REAL, AS_OF, computed)
    assert here.rows > 1000
    assert here.content == there.content
    assert Path(here.path).is_relative_to(home)
    assert lost(here.versions, stores) == []
    assert build(REAL, AS_OF, stores, here.views, here.versions).content == here.content


def test_a_model_is_trained_judged_promoted_and_served_below_any_folder(tmp_path: Path) -> None:
    home = tmp_path / "it's 50% (é) #1 & {x}=y: +z"
    stores, spec = at(home), training_sets.spec()
    rows = training_sets.training_set(home)
    made = train(spec, rows, stores)
    verdict = evaluate(spec, made, rows, stores, training_sets.NOW)
    assert verdict.decision is Decision.PASS, verdict.rules
    assert promote(spec, made.version, stores, training_sets.NOW).promoted
    assert at(home).tracking.file(stores.tracking.champion(spec.name)).is_relative_to(home)
    app = create_app(stores.settings, {spec.name: spec}, stores.tracking, stores.features, stores.predictions)
    with TestClient(app) as client:
        limit = time.monotonic() + 60
        while (
            answer := client.post(f"/v1/models/{spec.name}/predictions", json=example(spec))
        ).status_code != 200:
            assert time.monotonic() < limit, answer.text
    assert answer.json()["version"] == made.version
    assert (home / "mlflow.db").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [home.name]
