"""Rules of how a stage's errors reach Airflow."""

from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from pipelines.contracts import EvergreenError, NothingToDo, TransientError
from pipelines.settings import PROJECT


def test_a_persons_mistake_is_not_retried_and_a_passing_fault_is() -> None:
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
    from evergreen_airflow.stages import stage

    def raises(error: Exception):
        raise error

    with pytest.raises(AirflowFailException, match="mend it"):
        stage(raises, EvergreenError("mend it"))
    with pytest.raises(AirflowSkipException, match="nothing"):
        stage(raises, NothingToDo("nothing"))
    with pytest.raises(TransientError):
        stage(raises, TransientError("later"))


@pytest.mark.parametrize(
    ("kind", "assets", "said"),
    [
        ("scheduled", [], "schedule"),
        ("manual", [], "person"),
        ("asset_triggered", ["features"], "data event"),
        ("asset_triggered", ["decayed_m"], "monitor"),
        ("asset_triggered", ["decayed_m", "features"], "data event"),
        ("asset_triggered", [], "data event"),
    ],
)
def test_what_woke_a_run_is_told_apart(kind: str, assets: list[str], said: str) -> None:
    from evergreen_airflow.stages import woken_by

    events = {SimpleAsset(name): [] for name in assets}
    assert woken_by(SimpleNamespace(run_type=kind), events) == said


class SimpleAsset(NamedTuple):
    name: str


def test_airflow_imports_no_file_as_a_plugin_that_needs_what_is_not_installed_by_default() -> None:
    from airflow._shared.module_loading import find_path_from_directory

    found = [
        Path(each).name
        for each in find_path_from_directory(str(PROJECT / "plugins"), ".airflowignore", "glob")
    ]
    assert "evergreen_plugin.py" in found
    assert "lineage.py" not in found
