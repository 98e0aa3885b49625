"""Rules of a new model: written whole or not at all, in a project of its own."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipelines.contracts import EvergreenError
from pipelines.scaffold import new
from pipelines.scaffold.design import Said, design
from pipelines.scaffold.files import landing
from pipelines.scaffold.project import copied
from tests.own_tables import flowers, orders, read


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a project"
    folder.mkdir()
    return copied(folder)


def _files(project: Path) -> set[str]:
    found = (path for path in project.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(project)) for path in found}


def written(project: Path, frame: pd.DataFrame, name: str, **said: Any) -> new.Written:
    path = project.parent / "data.csv"
    frame.to_csv(path, index=False)
    with read(path) as (source, found):
        return new.write(
            design(name, path.name, Said(**said), found, source), source, project, project / "landing"
        )


def test_what_fails_leaves_nothing_behind(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _files(project)

    def moved(source: Path, target: Path) -> Path:
        if target.suffix == ".json":
            raise OSError("the disk is full")
        return real(source, target)

    real = new._move
    monkeypatch.setattr(new, "_move", moved)
    with pytest.raises(OSError, match="disk is full"):
        written(project, orders(), "shop_returns")
    assert _files(project) == before


def test_a_name_that_is_there_is_refused(project: Path) -> None:
    written(project, orders(), "shop_returns")
    before = _files(project)
    with pytest.raises(EvergreenError, match="is there already"):
        written(project, orders(), "shop_returns")
    assert _files(project) == before


def test_a_landed_file_of_the_same_name_is_kept(project: Path) -> None:
    first = written(project, orders(), "shop_returns")
    kept = first.landed.read_bytes()
    for path in [*project.glob("*/shop_returns*"), *project.glob("*/*/shop_returns*")]:
        if path.parent != first.landed.parent:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = _files(project)
    with pytest.raises(EvergreenError, match="is there already; move it away"):
        written(project, orders(), "shop_returns")
    assert first.landed.read_bytes() == kept
    assert _files(project) == before


def test_made_up_times_are_the_same_random_order_each_time(project: Path) -> None:
    path = project.parent / "data.csv"
    flowers().to_csv(path, index=False)
    orders_ = []
    for _ in range(2):
        with read(path) as (source, found):
            made = design("flower", path.name, Said(positive="setosa"), found, source)
            rows = source.connection.execute(landing.rows(made)).df()
            orders_.append(rows["row_id"].tolist())
            assert rows["recorded_at"].is_monotonic_increasing
    assert orders_[0] == orders_[1]
    assert orders_[0] != sorted(orders_[0])
