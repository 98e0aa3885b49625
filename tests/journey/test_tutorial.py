"""What the tutorial says is shown is shown, word for word, and what it removes is not missed."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.settings import PROJECT
from tests import tutorials
from tests.documented import Shown, same, shown

HOW_TO = PROJECT / "docs" / "how-to"
DAGS = """
import json
from airflow.utils.db import initdb
initdb()
from airflow.dag_processing.dagbag import DagBag
bag = DagBag("dags")
print("found", json.dumps([sorted(bag.dags), sorted(bag.import_errors.values())]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tutorials.tutorial(tmp_path_factory)


def test_each_command_of_the_tutorial_shows_what_it_says(folder: Path) -> None:
    told = shown(tutorials.TUTORIAL)
    found = json.loads((folder / "shown.json").read_text())
    assert len(found) == len(told) > 20
    assert sum(bool(each.output) for each in told) > 8
    wrong = [
        f"$ {each.command}\n{got}"
        for each, got in zip(told, found, strict=True)
        if not same(each.output, got)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", ["serve-without-airflow.md", "remove-the-example.md"])
def test_a_page_that_does_what_the_tutorial_does_does_the_same(page: str) -> None:
    told = [each.command for each in shown(HOW_TO / page)]
    played = [each.command for each in shown(tutorials.TUTORIAL)]
    assert len(told) >= 4
    assert " ".join(told) in " ".join(played)


def test_nothing_misses_the_example_once_it_is_removed(folder: Path) -> None:
    clone = folder / "clone"
    left = [
        path
        for path in ("pipelines", "feature_repo", "expectations")
        for path in (clone / path).rglob("*flight*")
    ]
    assert [
        path for path in left if "prove" not in path.parts and path.suffix != ".pyc" and path.is_file()
    ] == []
    done = _run(clone, "-m", "pipelines.cli", "doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {each["detail"] for each in json.loads(done.stdout) if each["check"] == "specs"} == {
        "1 datasets, 1 models"
    }


def test_airflow_has_the_dags_of_what_is_left_alone(folder: Path, tmp_path: Path) -> None:
    airflow = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "false"}
    done = _run(folder / "clone", "-c", DAGS, **airflow)
    told = re.findall(r"(?m)^found (.*)$", done.stdout)
    assert told, done.stdout + done.stderr
    found, errors = json.loads(told[0])
    assert errors == []
    of_model = [f"{kind}_airport_heat" for kind in ("ingest", "monitor", "retrain", "score")]
    assert found == ["features", *of_model]


def test_what_stands_for_anything_does_not_stand_for_everything() -> None:
    """The comparison itself can fail: on a word, a number, and a line that is not there."""
    wanted = "version ...\n┏━━┓\n┃ mend ┃ 36 ┃"
    assert same(wanted, "version 12 of it\n┏━━━━━┓\n┃ mend   ┃ 36   ┃\n")
    for got in ("version 12\n┏┓\n┃ mend ┃ 37 ┃", "version 12\n┏┓\n┃ look ┃ 36 ┃", "version 12", ""):
        assert not same(wanted, got)
    assert not same("", "something")


def test_commands_are_read_with_what_they_show(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ a \\\n  b\none\n\ntwo\n$ c\n```\n```sh\n$ not this\n```\n```console\n$ d\n```\n"
    )
    assert shown(page) == [Shown("a \\\n  b", "one\n\ntwo"), Shown("c", ""), Shown("d", "")]


def _run(clone: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    path = {"PYTHONPATH": f"{clone}:{clone / 'plugins'}", "EVERGREEN_HOME": str(clone / "var")}
    return subprocess.run(
        [sys.executable, *words], cwd=clone, env=tutorials.environment(clone) | path | more,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
