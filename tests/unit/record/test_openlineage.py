"""Names in OpenLineage follow its rules, and carry no login."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from pipelines.loop import steps
from pipelines.record.openlineage.datasets import feast, mlflow, named
from pipelines.record.openlineage.told import STEPS, Lineage, told
from pipelines.settings import Settings
from pipelines.stores import Stores


@pytest.mark.parametrize(
    ("uri", "namespace", "name"),
    [
        ("/data/lake/silver/flights", "file", "/data/lake/silver/flights"),
        ("file:///data/a%20b/c", "file", "/data/a b/c"),
        ("s3://bucket/lake/silver/flights", "s3://bucket", "lake/silver/flights"),
        ("s3a://bucket/lake/silver/flights", "s3://bucket", "lake/silver/flights"),
        ("s3://key:secret@bucket/lake", "s3://bucket", "lake"),
    ],
)
def test_a_place_is_named_as_the_specification_says(uri: str, namespace: str, name: str) -> None:
    assert named(uri) == {"namespace": namespace, "name": name}


@pytest.mark.parametrize(
    ("address", "namespace"),
    [
        (None, "mlflow"),
        ("http://ann:hunter2@mlflow:5000", "mlflow://mlflow:5000"),
        ("postgresql+psycopg2://ann:hunter2@db/mlflow", "mlflow://db"),
    ],
)
def test_models_are_named_by_who_keeps_them_and_without_a_login(
    tmp_path: Path, address: str | None, namespace: str
) -> None:
    kept = SecretStr(address) if address else None
    assert mlflow(Stores(Settings(_env_file=None, home=tmp_path, tracking_uri=kept))) == namespace


def test_what_is_online_is_named_by_feasts_project(stores: Stores) -> None:
    assert feast(stores) == "feast://evergreen"


def test_each_step_that_is_told_of_is_one_and_others_read_nothing(stores: Stores) -> None:
    assert STEPS
    assert [name for name in STEPS if getattr(steps, name, None) is None] == []
    assert told("plan", ["flight_delays"], {}, stores) == Lineage()
