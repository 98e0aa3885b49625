"""Rules of a new model: written whole or not at all, in a project of its own; and it runs through the whole loop."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipelines.contracts import EvergreenError
from pipelines.scaffold import new
from pipelines.scaffold.design import Said, design
from pipelines.scaffold.files import landing
from pipelines.scaffold.project import copied
from tests.own_tables import flowers, orders, read, series

COLUMNS = ["order no", "shop id", "ordered at", "amount (€)", "channel", "returned"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a project"
    folder.mkdir()
    return copied(folder)


def _run(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("EVERGREEN_")}
    return subprocess.run(
        [sys.executable, *words], cwd=project, capture_output=True, text=True, check=False,
        env=environment | {"PYTHONPATH": str(project), "EVERGREEN_HOME": str(project / "var")},
    )  # fmt: skip


def _new(project: Path, frame: pd.DataFrame, name: str, *flags: str) -> dict[str, Any]:
    path = project / "it's [my] data;.csv"
    frame.to_csv(path, index=False)
    done = _run(project, "-m", "pipelines.cli", "new", name, "--from", str(path), "--yes", "--json", *flags)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def _tried(project: Path, name: str, *flags: str) -> dict[str, Any]:
    home = str(project / f"home_{name}")
    done = _run(project, "-m", "pipelines.cli", "try", name, "--json", "--home", home, *flags)
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout))


def _files(project: Path) -> set[str]:
    found = (path for path in project.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(project)) for path in found}


def _written(project: Path, frame: pd.DataFrame, name: str, **said: Any) -> new.Written:
    path = project.parent / "data.csv"
    frame.to_csv(path, index=False)
    with read(path) as (source, found):
        return new.write(
            design(name, path.name, Said(**said), found, source), source, project, project / "landing"
        )


def test_a_model_of_events_runs_through_the_whole_loop(project: Path) -> None:
    told = _new(project, orders(3000), "shop_returns")
    assert {column["header"] for column in told["columns"]} == set(COLUMNS)
    found = _tried(project, "shop_returns", "--rows", "2500")
    assert found["decision"] == "PASS", found["failed"]
    assert 0 < found["answer"] < 1
    assert Path(found["page"]).is_file()
    assert [s["step"] for s in found["steps"]][-3:] == ["promote", "serve", "monitor"]
    own = _run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/models")
    assert "3 passed" in own.stdout, own.stdout
    doctor = json.loads(_run(project, "-m", "pipelines.cli", "doctor", "--json").stdout)
    assert [check for check in doctor if not check["ok"]] == []


def test_the_next_file_as_it_comes_is_taken(project: Path) -> None:
    """Its headers, its times without a zone and its marks of no value are those that the model was made of."""
    frame = orders(800).astype({"amount (€)": "object"})
    frame.loc[::9, "amount (€)"] = "NA"
    _new(project, frame, "shop_returns")
    later = project / "shop_returns_later.csv"
    frame.to_csv(later, index=False)
    (told,) = json.loads(_run(project, "-m", "pipelines.cli", "validate", str(later), "--json").stdout)
    assert (told["parsed"], told["silver"], told["quarantined"]) == (800, 800, 0), told


def test_the_next_parquet_file_as_it_comes_is_taken(project: Path) -> None:
    """Booleans, days, categories and whole numbers with gaps are what pandas writes."""
    frame = orders(800)
    frame["paid"] = frame.index % 3 == 0
    frame["day"] = pd.to_datetime(frame["ordered at"]).dt.date
    frame["ordered at"] = pd.to_datetime(frame["ordered at"])
    frame["pieces"] = (frame.index % 7).astype("Int64").where(frame.index % 5 != 0)
    frame["channel"] = frame["channel"].astype("category")
    later = project / "shop_returns_later.parquet"
    frame.to_parquet(later)
    flags = ["--yes", "--label", "returned", "--json"]
    done = _run(project, "-m", "pipelines.cli", "new", "shop_returns", "--from", str(later), *flags)
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(_run(project, "-m", "pipelines.cli", "validate", str(later), "--json").stdout)
    assert (told["parsed"], told["silver"], told["quarantined"]) == (800, 800, 0), told


def test_what_was_taken_in_can_be_tried_again(project: Path) -> None:
    """A file that was ingested lies in the archive; the trial takes it there, and changes nothing."""
    _new(project, flowers(600), "flower", "--positive", "setosa")
    assert _run(project, "-m", "pipelines.cli", "ingest", "flower").returncode == 0
    before = _files(project / "var")
    found = _tried(project, "flower", "--rows", "400")
    assert found["steps"][0]["said"] == "400 rows"
    assert _files(project / "var") == before


def test_a_model_without_a_time_needs_no_entity_and_no_feature(project: Path) -> None:
    _new(project, flowers(900), "flower", "--positive", "o'hara; --")
    assert not list((project / "feature_repo").glob("flower*"))
    found = _tried(project, "flower")
    assert found["training_set"]["positives"] > 100
    assert found["decision"] == "PASS", found["failed"]
    assert 0 <= found["answer"] <= 1


def test_a_model_of_three_classes_runs_through_the_whole_loop(project: Path) -> None:
    _new(project, flowers(900), "flower")
    found = _tried(project, "flower")
    assert found["decision"] == "PASS", found["failed"]
    assert sum(found["answer"].values()) == pytest.approx(1)
    assert set(found["answer"]) == {"setosa", "virginica", "o'hara; --"}
    own = _run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/models")
    assert "3 passed" in own.stdout, own.stdout


def test_a_series_is_forecast_better_than_by_its_last_value(project: Path) -> None:
    _new(project, series(), "daily_sales")
    found = _tried(project, "daily_sales")
    assert found["decision"] == "PASS", found["failed"]
    assert found["metrics"]["candidate"]["rmse"] < found["metrics"]["baseline"]["rmse"]


def test_what_fails_leaves_nothing_behind(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _files(project)

    def moved(source: Path, target: Path) -> Path:
        if target.suffix == ".json":
            raise OSError("the disk is full")
        return real(source, target)

    real = new._move
    monkeypatch.setattr(new, "_move", moved)
    with pytest.raises(OSError, match="disk is full"):
        _written(project, orders(), "shop_returns")
    assert _files(project) == before


def test_a_name_that_is_there_is_refused(project: Path) -> None:
    _written(project, orders(), "shop_returns")
    before = _files(project)
    with pytest.raises(EvergreenError, match="is there already"):
        _written(project, orders(), "shop_returns")
    assert _files(project) == before


def test_a_landed_file_of_the_same_name_is_kept(project: Path) -> None:
    first = _written(project, orders(), "shop_returns")
    kept = first.landed.read_bytes()
    for path in [*project.glob("*/shop_returns*"), *project.glob("*/*/shop_returns*")]:
        if path.parent != first.landed.parent:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = _files(project)
    with pytest.raises(EvergreenError, match="is there already; move it away"):
        _written(project, orders(), "shop_returns")
    assert first.landed.read_bytes() == kept
    assert _files(project) == before


HOSTILE = (
    "x' or 1=1; --", '"; drop table typed; --', "{{ 7*7 }}", "$horizon", "a\nb", "# no comment", "key: [value",
    "*/ x /*", "'''\"\"\"", "%s%(x)s", "<script>alert(1)</script>", "\\", "\u2028", "\x85", "🌲", "{% raw %}",
    "yes\n- no", "null",
)  # fmt: skip


def test_headers_and_values_of_any_kind_stay_text(project: Path) -> None:
    frame = orders(700)
    for number, text in enumerate(HOSTILE[:8]):
        frame.insert(0, f"{text}{number}", frame["amount (€)"].sample(frac=1, random_state=number).to_numpy())
    frame["channel"] = [HOSTILE[n % len(HOSTILE)] for n in range(len(frame))]
    frame["returned"] = frame["returned"].map({"yes": HOSTILE[0], "no": HOSTILE[16]})
    written = _written(project, frame, "hostile", label="returned", positive=HOSTILE[0], time="ordered at")
    landed = pd.read_parquet(written.landed)
    assert len(landed) == len(frame)
    assert set(landed["channel"]) == set(HOSTILE)
    done = _run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/models")
    assert "3 passed" in done.stdout, done.stdout


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
