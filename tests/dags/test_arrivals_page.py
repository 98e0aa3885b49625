"""Rules of the page Arrivals: each batch says where its rows went, and why, and its report can be read anywhere."""

import os
import shutil
from typing import Any

import pytest

from pipelines.catalog import dataset
from pipelines.contracts import BatchState, IngestResult
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.ingestion.quarantine import rows as quarantined
from pipelines.settings import settings
from pipelines.stores import Stores
from tests.dags.conftest import PROJECT
from tests.dags.test_feature_page import Read
from tests.dags.test_model_page import ask

__all__ = ["ask"]

PAGE, DATA = "/arrivals/ingest_flights", PROJECT / "tests" / "data"


@pytest.fixture
def landed() -> dict[str, IngestResult]:
    """A file whose rows are all good, one with a row that breaks a rule, one that is refused; by state and rows."""
    stores = Stores(settings())
    stores.settings.landing_path.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(("good", "broken_row", "missing_column")):
        to = stores.settings.landing_path / f"flights_{number}.csv"
        shutil.copyfile(DATA / f"flights_{name}.csv", to)
        os.utime(to, (1e9 + number, 1e9 + number))
    found = {each.name: each for each in ingest_dataset(dataset("flights"), stores)}
    assert [each.state for each in found.values()] == [BatchState.ARCHIVED] * 2 + [BatchState.REFUSED]
    assert found["flights_1.csv"].quarantined
    return found


def rows(text: str) -> dict[str, list[str]]:
    """The cells of each batch by the name of its file."""
    cells = [[Read(cell).text.strip() for cell in row.split("<td>")[1:]] for row in text.split("<tr ")[1:]]
    return {each[0]: each[1:] for each in cells}


def test_a_batch_of_which_rows_were_held_back_says_why_and_one_without_says_nothing(
    landed: dict[str, IngestResult], ask: Any
) -> None:
    answer = ask("GET", PAGE, "viewer")
    assert answer.status_code == 200
    shown = rows(answer.text)
    assert set(shown) == set(landed)
    assert shown["flights_0.csv"][-1] == ""
    held = landed["flights_1.csv"]
    [row] = quarantined(held, Stores(settings()))
    assert row["rule"]
    assert shown["flights_1.csv"][-1] == f"1 row: {row['rule']}"
    assert shown["flights_2.csv"][-1] == landed["flights_2.csv"].reason != ""


def test_the_report_of_a_batch_is_there_and_fits_phones_and_the_dark(
    landed: dict[str, IngestResult], ask: Any
) -> None:
    links = [each["href"] for each in Read(ask("GET", PAGE, "viewer").text).of("a")]
    partly = f"ingest_flights/{landed['flights_1.csv'].digest}"
    assert partly in links
    answer = ask("GET", f"/arrivals/{partly}", "viewer")
    assert answer.status_code == 200
    assert landed["flights_1.csv"].digest in Read(answer.text).text
    assert "name=viewport" in answer.text
    assert "prefers-color-scheme:dark" in answer.text
    assert ask("GET", f"/arrivals/{partly}", None).status_code == 401
