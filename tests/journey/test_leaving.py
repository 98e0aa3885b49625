"""Everything that is kept is read back by the stock tools alone, in a process that cannot import a line of ours."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.catalog.types import File
from pipelines.settings import PROJECT, Settings
from pipelines.stores import Stores
from tests import tutorials

PAGE = PROJECT / "docs" / "how-to" / "leave.md"
NAME = "airport_heat"
ALONE = """
import sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pipelines", "evergreen_airflow"):
            raise ImportError(f"{name} is gone")
sys.meta_path.insert(0, Gone())
"""
TOLD = """
asked = predictions.iloc[-1]
question = {k: v for part in ("entities", "request", "features") for k, v in asked[part].items()}
answer = model.predict(pd.DataFrame([question])[list(model[0].feature_names_in_)])[0]
newest = training_sets[run.data.tags["training_set"]].sort_values("event_timestamp").tail(6)
joined = store.get_historical_features(
    entity_df=newest[["origin", "event_timestamp"]], features=service, full_feature_names=True
).to_df()
columns = [name for name in newest if "__" in name]
both = newest.merge(joined, on=["origin", "event_timestamp"], suffixes=("", "?"))
print("told", json.dumps({
    "rows": {table: len(frame) for table, frame in rows.items()},
    "counted": {table: len(frame) for table, frame in counted.items()},
    "refused": counted["quarantine/" + name].iloc[0].astype(str).to_dict(),
    "landed": [path.name for path in landed],
    "batches": len(batches), "audit": len(audit), "digest": champion.tags["digest"], "version": champion.version,
    "versions": len(versions), "params": run.data.params, "card": card, "answers": [asked["answer"], answer],
    "features": len(columns), "joined": len(both),
    "differing": [c for c in columns if not both[c].astype(float).equals(both[c + "?"].astype(float))],
    "suites": sorted(suites), "judged": len(judged.results), "success": judged.success,
    "ours": sorted(m for m in sys.modules if m.split(".")[0] in ("pipelines", "evergreen_airflow")),
}, default=str))
"""
WARM = "EWR,warm,26.06,59.37,1012,10,2013-03-02T06:00:00Z\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the tutorial's first model, in which one more file landed that has one broken row."""
    clone = tutorials.tutorial(tmp_path_factory) / "clone"
    home = tmp_path_factory.mktemp("leaving") / "first"
    shutil.copytree(clone / "first", home)
    header = (clone / "heat.csv").read_text().splitlines(keepends=True)[0]
    good = (WARM.replace("warm", "39.02").replace("T06", f"T{hour:02d}") for hour in range(7, 16))
    (home / "landing" / f"{NAME}_later.csv").write_text("".join([header, WARM, *good]))
    environment = tutorials.environment(clone) | {"EVERGREEN_HOME": str(home)}
    for words, code in ((["ingest", NAME], 4), (["audit", "export", str(home / "audit.jsonl")], 0)):
        command = [sys.executable, "-m", "pipelines.cli", *words]
        done = subprocess.run(
            command, cwd=clone, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
    return home


@pytest.fixture(scope="module")
def read(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page's own lines find."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 6
    script = tmp_path_factory.mktemp("alone") / "read.py"
    script.write_text("\n".join([ALONE, *blocks, TOLD]))
    clone = tutorials.tutorial(tmp_path_factory) / "clone"
    done = subprocess.run(
        [sys.executable, "-I", str(script), str(home), NAME],
        cwd=clone,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(re.findall(r"(?m)^told (.*)$", done.stdout)[0]))


@pytest.fixture
def kept(home: Path) -> Stores:
    return Stores(Settings(_env_file=None, home=home))


def test_nothing_of_ours_was_imported(read: dict[str, Any]) -> None:
    """The names under which skops looks for a model's own estimator are empty, and the estimator is the run's file."""
    assert File.__module__.split(".")[0] == "pipelines"
    assert read["ours"] == [
        "pipelines", "pipelines.models", f"pipelines.models.{NAME}", f"pipelines.models.{NAME}.estimator",
    ]  # fmt: skip


def test_every_row_is_read(read: dict[str, Any], kept: Stores) -> None:
    batches = kept.ledger.batches(NAME)
    taken = [kept.ledger.result(each.digest, NAME) for each in batches]
    assert read["batches"] == len(batches) == len(read["landed"]) == 2
    assert read["rows"][f"silver/{NAME}"] == sum(each.silver for each in taken if each) > 1000
    assert read["counted"][f"quarantine/{NAME}"] == sum(each.quarantined for each in taken if each) == 1
    assert read["rows"][f"features/{NAME}_history/v1"] > 1000
    assert "warm" in read["refused"]["raw"]
    assert read["refused"]["line"] == "2"


def test_the_model_answers_as_it_answered(read: dict[str, Any], kept: Stores) -> None:
    champion = kept.tracking.champion(NAME)
    assert champion is not None
    assert (int(read["version"]), read["digest"]) == (champion.version, champion.digest)
    assert read["versions"] == 1
    assert read["params"]["random_state"] == "0"
    assert NAME in read["card"]
    logged, answer = read["answers"]
    assert answer == pytest.approx(logged, abs=1e-9)


def test_features_are_joined_as_they_were_for_training(read: dict[str, Any]) -> None:
    assert read["features"] > 10
    assert read["joined"] == 6
    assert read["differing"] == []


def test_suites_judge_and_the_log_is_whole(read: dict[str, Any], kept: Stores, home: Path) -> None:
    assert {NAME, f"{NAME}_history"} <= set(read["suites"])
    assert read["judged"] > 5
    assert read["success"]
    lines = [json.loads(line) for line in (home / "audit.jsonl").read_text().splitlines()]
    assert read["audit"] == kept.audit.head.number > 5
    assert len([line for line in lines if "action" in line]) == read["audit"]
