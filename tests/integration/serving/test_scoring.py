"""Rules of batch scoring: each row is answered as the API answers it, lies in the table once, and none is lost."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from pipelines.contracts import EvergreenError, NothingToDo
from pipelines.loop import steps
from pipelines.serving.schemas import example
from pipelines.serving.tables.scoring import LAYER, Scored, score
from pipelines.settings import settings
from pipelines.stores import Stores
from tests.integration.serving.worlds import NOW, SPEC, Version, World

FIELDS = [*SPEC.entities, *SPEC.request]
ANSWER = ["answer", "decision", "version", "degraded"]


@dataclass
class Desk:
    """A deployment whose app answers, and a folder for files of questions."""

    world: World
    folder: Path

    @property
    def stores(self) -> Any:
        world = self.world
        tables, home = world.stores.tables, world.stores.settings
        return SimpleNamespace(tracking=world.models, features=world.features, tables=tables, settings=home)

    def score(self, frame: pd.DataFrame, name: str = "asked.parquet") -> Scored:
        path = self.folder / name
        frame.to_csv(path, index=False) if name.endswith(".csv") else frame.to_parquet(path)
        return score(SPEC, path, self.stores, NOW)

    def table(self) -> pd.DataFrame:
        found = self.world.stores.tables.dataset(LAYER, SPEC.name)
        return pd.DataFrame() if found is None else found.to_table().to_pandas()

    def said(self, frame: pd.DataFrame) -> list[list[Any]]:
        """What the API answers to each row."""
        answers = [self.world.ask(**row).json() for row in frame.to_dict("records")]
        return [[a["probability"], a["decision"], a["version"], a["degraded"]] for a in answers]


@pytest.fixture
def desk(world: World, tmp_path: Path) -> Desk:
    folder = tmp_path / "files"
    folder.mkdir()
    return Desk(world, folder)


def flights(number: int = 30, **changes: Any) -> pd.DataFrame:
    body = example(SPEC)
    rows = [
        {
            **body["entities"],
            **body["request"],
            "distance": 100 + 97 * n,
            "carrier": ["UA", "AA", "ZZ"][n % 3],
        }
        for n in range(number)
    ]
    return pd.DataFrame(rows).assign(**changes)


@pytest.mark.parametrize("name", ["asked.parquet", "asked.csv"])
def test_each_row_is_answered_as_the_api_answers_it_to_the_bit(name: str, desk: Desk) -> None:
    asked = flights()
    done = desk.score(asked, name)
    assert (done.rows, done.answered, done.new) == (30, 30, True)
    table = desk.table().sort_values("row")
    assert table[ANSWER].to_numpy().tolist() == desk.said(asked)
    assert table["answer"].nunique() > 1
    assert done.degraded == 20  # nothing is known of two of three carriers


def test_times_of_a_parquet_file_are_questions_too_and_those_without_zone_are_told(desk: Desk) -> None:
    asked = flights(4)
    moments = pd.to_datetime(asked.scheduled_departure)
    assert desk.score(asked.assign(scheduled_departure=moments)).answered == 4
    naive = desk.score(asked.assign(scheduled_departure=moments.dt.tz_localize(None)))
    assert naive.answered == 0
    assert desk.table().problem.dropna().str.contains("no zone").all()


def test_the_same_bytes_by_the_same_version_are_added_once(desk: Desk) -> None:
    first, again = desk.score(flights()), desk.score(flights())
    assert (first.new, again.new) == (True, False)
    assert replace(again, new=True) == first
    assert len(desk.table()) == 30
    desk.world.models.alias = Version(2, "two")
    desk.world.models.loads[2] = desk.world.models.loads[1]
    assert desk.score(flights()).new
    assert sorted(desk.table().version.unique()) == [1, 2]


def test_a_row_that_is_no_question_is_told_in_its_place_and_the_others_are_answered(desk: Desk) -> None:
    asked = flights(6).astype({"distance": "object"})
    asked.loc[2, "distance"], asked.loc[4, "scheduled_departure"] = "far", "soon"
    done = desk.score(asked, "asked.csv")
    assert (done.rows, done.answered) == (6, 4)
    table = desk.table().sort_values("row")
    assert [*table.row[table.answer.isna()]] == [2, 4]
    told = dict(zip(table.row, table.problem, strict=True))
    assert "distance" in told[2]
    assert "far" in table.question.iloc[2]
    assert "scheduled_departure" in told[4]


def test_a_row_that_the_model_fails_on_is_told_and_the_others_are_answered(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(self: Any, rows: pd.DataFrame) -> list[float]:
        if 197 in set(rows.distance):
            raise ValueError("not this one")
        return [0.5] * len(rows)

    monkeypatch.setattr("pipelines.serving.served.Served.answers", answers)
    done = desk.score(flights(5))
    assert (done.rows, done.answered) == (5, 4)
    assert "failed on this question" in desk.table().set_index("row").problem[1]


BROKEN = {
    "lacks.csv": (b"carrier,origin\nUA,EWR\n", "no column dest"),
    "empty.csv": (",".join(FIELDS).encode() + b"\n", "no row"),
    "short.csv": (",".join(FIELDS).encode() + b"\nUA,EWR\n", "cannot be read"),
    "noise.parquet": (b"PAR1 and no more", "cannot be read"),
    "asked.xlsx": (b"", "no CSV or Parquet"),
    "bare.csv": (b"", "cannot be read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_cannot_be_asked_is_refused_in_words_and_adds_nothing(name: str, desk: Desk) -> None:
    content, named = BROKEN[name]
    (desk.folder / name).write_bytes(content)
    with pytest.raises(EvergreenError, match=named):
        score(SPEC, desk.folder / name, desk.stores, NOW)
    assert desk.table().empty


def test_a_file_that_is_not_there_is_named(desk: Desk) -> None:
    with pytest.raises(EvergreenError, match=r"gone\.csv is no file; name"):
        score(SPEC, desk.folder / "gone.csv", desk.stores, NOW)


def test_without_a_champion_nothing_is_scored_and_the_remedy_is_named(empty: World, tmp_path: Path) -> None:
    with pytest.raises(EvergreenError, match="train and promote one"):
        Desk(empty, tmp_path).score(flights())


def test_a_dag_is_told_what_its_folder_holds(stores: Stores) -> None:
    settings.cache_clear()
    with pytest.raises(NothingToDo, match="put one there"):
        steps.score(SPEC.name)
    folder = stores.settings.home / "scoring" / SPEC.name
    flights(1).to_csv(folder / "today.csv", index=False)
    for other in ("tomorrow.csv", "../today.csv", "/etc/passwd"):
        with pytest.raises(EvergreenError, match=r"today\.csv"):
            steps.score(SPEC.name, other)
