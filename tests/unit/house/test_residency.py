"""State lies where it is declared to, or nothing starts; where nobody can tell, it does not lie there."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import EvergreenError
from pipelines.residency import Residency, foreign
from pipelines.settings import Settings

EU = "local,eu-central-1,.db.example.eu,cache.example.eu,gs://bucket"


@pytest.mark.parametrize(
    ("address", "region", "endpoint"),
    [
        ("/srv/home", None, None),
        ("file:///srv/home", None, None),
        ("sqlite:////srv/home/evergreen.db", None, None),
        ("s3://bucket/lake", "eu-central-1", None),
        ("s3://bucket/lake", None, "https://s3.eu-central-1.amazonaws.com"),
        ("s3://bucket/lake", "us-east-1", "https://store.db.example.eu:9000"),
        ("postgresql+psycopg2://me:secret@one.db.example.eu:5432/evergreen", None, None),
        ("postgresql+psycopg2://me:secret@one.eu-central-1.amazonaws.com/x", None, None),
        ("postgresql+psycopg2://me@localhost/evergreen", None, None),
        ("postgresql+psycopg2:///evergreen", None, None),
        ("cache.example.eu:6379", None, None),
        ("https://mlflow.db.example.eu", None, None),
        ("gs://bucket/artifacts", None, None),
    ],
)  # fmt: skip
def test_what_tells_that_it_lies_there_is_let_through(
    address: str, region: str | None, endpoint: str | None
) -> None:
    assert Residency.of(EU).against(address, region, endpoint) is None


@pytest.mark.parametrize(
    ("declared", "address", "region", "endpoint", "said"),
    [
        ("eu-central-1", "/srv/home", None, None, "declare `local`"),
        (EU, "s3://bucket/lake", None, None, "set AWS_REGION"),
        (EU, "s3://bucket/lake", "us-east-1", None, "it is in us-east-1"),
        (EU, "s3://bucket/lake", "eu-central-1", "https://s3.us-east-1.amazonaws.com", "it is in us-east-1"),
        (
            EU,
            "s3://bucket/lake",
            "eu-central-1",
            "https://elsewhere.example",
            "elsewhere.example is not declared",
        ),
        (EU, "postgresql://me:secret@db.example.us/evergreen", None, None, "db.example.us is not declared"),
        (EU, "postgresql://me:secret@evildb.example.eu/evergreen", None, None, "is not declared"),
        (EU, "cache.example.eu.attacker.test:6379", None, None, "is not declared"),
        (EU, "gs://other/artifacts", None, None, "declare that address itself"),
        (EU, "abfss://box@account.dfs.core.windows.net/x", None, None, "declare that address itself"),
        (EU, "weird://", None, None, "cannot be read"),
    ],
)
def test_what_lies_elsewhere_or_does_not_tell_is_refused_with_the_remedy(
    declared: str, address: str, region: str | None, endpoint: str | None, said: str
) -> None:
    found = foreign(declared, {"EVERGREEN_X": address}, region, endpoint)
    assert len(found) == 1
    assert found[0].startswith("EVERGREEN_X: ")
    assert said in found[0]
    assert "secret" not in found[0]


@given(st.text(max_size=30))
def test_an_empty_declaration_lets_nothing_through(address: str) -> None:
    assert Residency.of(" , ").against(address, "eu-central-1", None) is not None


def test_no_command_starts_where_state_lies_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(EvergreenError, match="EVERGREEN_HOME: it is on this machine's disk"):
        Settings(_env_file=None, home=tmp_path, residency="eu-central-1")  # type: ignore[call-arg]
    assert Settings(_env_file=None, home=tmp_path, residency="local").residency == "local"  # type: ignore[call-arg]
