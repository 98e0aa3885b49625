"""Models that were made of people's tables: each runs through the whole loop, and takes the next file as it comes.

Every command runs in one process of one project, made once per test run; each reads files and settings anew.
"""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipelines.scaffold.project import copied
from pipelines.settings import Settings
from pipelines.stores import Stores
from tests.commands import alone, ran
from tests.integration.scaffold.test_new import written
from tests.once import once
from tests.own_tables import flowers, orders, series

COLUMNS = ["order no", "shop id", "ordered at", "amount (€)", "channel", "returned"]
OWN_TESTS = [f"tests/models/{name}" for name in ("shop_returns", "flower", "hostile")]
HOSTILE = (
    "x' or 1=1; --", '"; drop table typed; --', "{{ 7*7 }}", "$horizon", "a\nb", "# no comment", "key: [value",
    "*/ x /*", "'''\"\"\"", "%s%(x)s", "<script>alert(1)</script>", "\\", "\u2028", "\x85", "🌲", "{% raw %}",
    "yes\n- no", "null",
)  # fmt: skip


@pytest.fixture
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which models were made and tried; to be read, not changed."""
    return once(tmp_path_factory, "new models", _played) / "a project"


def _played(home: Path) -> None:
    project = home / "a project"
    project.mkdir()
    copied(project)
    assert len(_hostile(project)) == 700
    commands = [*_news(project), *_next_files(project), ["ingest", "kind"], *_trials(project), ["doctor"]]
    ended = ran(project, project / "var", *([*words, "--json"] for words in commands))
    told = {" ".join(words[:2]): asdict(each) for words, each in zip(commands, ended, strict=True)}
    (project / "told.json").write_text(json.dumps(told))
    own = alone(project, project / "var", "-m", "pytest", "-v", "-p", "no:cacheprovider", *OWN_TESTS)
    (project / "own.txt").write_text(own.stdout)


def _hostile(project: Path) -> pd.DataFrame:
    frame = orders(700)
    for number, text in enumerate(HOSTILE[:8]):
        frame.insert(0, f"{text}{number}", frame["amount (€)"].sample(frac=1, random_state=number).to_numpy())
    frame["channel"] = [HOSTILE[n % len(HOSTILE)] for n in range(len(frame))]
    frame["returned"] = frame["returned"].map({"yes": HOSTILE[0], "no": HOSTILE[16]})
    made = written(project, frame, "hostile", label="returned", positive=HOSTILE[0], time="ordered at")
    return pd.read_parquet(made.landed)


def _news(project: Path) -> list[list[str]]:
    """Each model's `new`, from a file whose name is as people name theirs."""
    tables = {
        "shop_returns": orders(3000),
        "flower": flowers(900),
        "kind": flowers(900),
        "daily_sales": series(),
    }
    flags = {"kind": ["--positive", "o'hara; --"]}
    commands = []
    for name, frame in tables.items():
        path = project / name / "it's [my] data;.csv"
        path.parent.mkdir()
        frame.to_csv(path, index=False)
        commands.append(["new", name, "--from", str(path), "--yes", *flags.get(name, [])])
    return commands


def _next_files(project: Path) -> list[list[str]]:
    """Models of two files, and the same files as they come next."""
    _marked().to_csv(project / "marked_later.csv", index=False)
    _exported().to_parquet(project / "exported_later.parquet")
    flags = ["--yes", "--label", "returned"]
    made = [
        ["new", n.partition("_")[0], "--from", n, *flags]
        for n in ("marked_later.csv", "exported_later.parquet")
    ]
    return made + [["validate", name] for name in ("marked_later.csv", "exported_later.parquet")]


def _marked() -> pd.DataFrame:
    frame = orders(800).astype({"amount (€)": "object"})
    frame.loc[::9, "amount (€)"] = "NA"
    return frame


def _exported() -> pd.DataFrame:
    frame = orders(800)
    frame["paid"] = frame.index % 3 == 0
    frame["day"] = pd.to_datetime(frame["ordered at"]).dt.date
    frame["ordered at"] = pd.to_datetime(frame["ordered at"])
    frame["pieces"] = (frame.index % 7).astype("Int64").where(frame.index % 5 != 0)
    frame["channel"] = frame["channel"].astype("category")
    return frame


def _trials(project: Path) -> list[list[str]]:
    """Each in a home in which MLflow's tables lie already, for they are the same in all."""
    rows = {"shop_returns": ["--rows", "2500"], "kind": ["--rows", "800"], "flower": [], "daily_sales": []}
    for name in rows:
        assert Stores(Settings(_env_file=None, home=project / f"home_{name}")).tracking.client
    return [["try", name, "--home", f"home_{name}", *most] for name, most in rows.items()]


def _told(project: Path, command: str) -> Any:
    """What a command printed."""
    told = json.loads((project / "told.json").read_text())[command]
    assert told["stdout"], told
    return json.loads(told["stdout"])


def _own_tests(project: Path, name: str) -> list[str]:
    """How the tests that came with a model ended."""
    return re.findall(rf"(?m)^tests/models/{name}/\S+ ([A-Z]+)", (project / "own.txt").read_text())


def test_every_command_ended_well(played: Path) -> None:
    told = json.loads((played / "told.json").read_text())
    assert len(told) == 14
    assert {command: each["returncode"] for command, each in told.items() if each["returncode"]} == {}


def test_a_model_of_events_runs_through_the_whole_loop(played: Path) -> None:
    told = _told(played, "new shop_returns")
    assert {column["header"] for column in told["columns"]} == set(COLUMNS)
    found = _told(played, "try shop_returns")
    assert found["decision"] == "PASS", found["failed"]
    assert 0 < found["answer"] < 1
    assert (played / found["page"]).is_file()
    assert [s["step"] for s in found["steps"]][-3:] == ["promote", "serve", "monitor"]
    assert _own_tests(played, "shop_returns") == ["PASSED"] * 3
    assert [check for check in _told(played, "doctor") if not check["ok"]] == []


def test_the_next_file_as_it_comes_is_taken(played: Path) -> None:
    """Its headers, its times without a zone and its marks of no value are those that the model was made of."""
    (told,) = _told(played, "validate marked_later.csv")
    assert (told["parsed"], told["silver"], told["quarantined"]) == (800, 800, 0), told


def test_the_next_parquet_file_as_it_comes_is_taken(played: Path) -> None:
    """Booleans, days, categories and whole numbers with gaps are what pandas writes."""
    (told,) = _told(played, "validate exported_later.parquet")
    assert (told["parsed"], told["silver"], told["quarantined"]) == (800, 800, 0), told


def test_a_model_without_a_time_needs_no_entity_and_no_feature(played: Path) -> None:
    assert not list((played / "feature_repo").glob("kind*"))
    found = _told(played, "try kind")
    assert found["training_set"]["positives"] > 100
    assert found["decision"] == "PASS", found["failed"]
    assert 0 <= found["answer"] <= 1


def test_what_was_taken_in_can_be_tried_again(played: Path) -> None:
    """A file that was ingested lies in the archive; the trial takes it there, and changes nothing."""
    told = json.loads((played / "told.json").read_text())
    assert any("archive/kind/" in path for path in told["ingest kind"]["kept"])
    assert _told(played, "try kind")["steps"][0]["said"] == "800 rows"
    assert told["try kind"]["kept"] == told["ingest kind"]["kept"]


def test_a_model_of_three_classes_runs_through_the_whole_loop(played: Path) -> None:
    found = _told(played, "try flower")
    assert found["decision"] == "PASS", found["failed"]
    assert sum(found["answer"].values()) == pytest.approx(1)
    assert set(found["answer"]) == {"setosa", "virginica", "o'hara; --"}
    assert _own_tests(played, "flower") == ["PASSED"] * 3


def test_a_series_is_forecast_better_than_by_its_last_value(played: Path) -> None:
    found = _told(played, "try daily_sales")
    assert found["decision"] == "PASS", found["failed"]
    assert found["metrics"]["candidate"]["rmse"] < found["metrics"]["baseline"]["rmse"]


def test_headers_and_values_of_any_kind_stay_text(played: Path) -> None:
    (path,) = (played / "landing").glob("hostile*")
    landed = pd.read_parquet(path)
    assert len(landed) == 700
    assert set(landed["channel"]) == set(HOSTILE)
    assert _own_tests(played, "hostile") == ["PASSED"] * 3
