"""What is logged to a run and longer than MLflow keeps: whole in a file of the run, which the cut value names.

MLflow cuts a parameter or tag that is too long, and fails nothing by it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.stores.tracking.records import Run

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

PARAMETER, TAG = 6_000, 8_000
"""So many characters MLflow keeps."""
FOLDER, FILE = "values", "whole.json"
PLACE = f"{FOLDER}/{FILE}"
CUT = f"... (whole in {PLACE})"
"""How a value ends that was cut here."""
Values = dict[str, str]
Whole = dict[str, Values]
"""Values by name, of `parameters` and `tags`, each as long as it is."""


def shortened(parameters: Mapping[str, str], tags: Mapping[str, str]) -> tuple[Values, Values, Whole]:
    """Both as MLflow keeps them, and whole those that it would cut; none where it would cut none."""
    long = {"parameters": _long(parameters, PARAMETER), "tags": _long(tags, TAG)}
    whole = {name: values for name, values in long.items() if values}
    return _cut(parameters, PARAMETER), _cut(tags, TAG), whole


def log(client: "MlflowClient", run_id: str, parameters: Mapping[str, str], tags: Mapping[str, str]) -> Whole:
    """Log both, shortened; what is to be kept whole."""
    from mlflow.entities import Param, RunTag

    kept, told, whole = shortened(parameters, tags)
    params = [Param(name, value) for name, value in kept.items()]
    client.log_batch(run_id, params=params, tags=[RunTag(name, value) for name, value in told.items()])
    return whole


def written(whole: Whole, folder: Path) -> Path:
    """The file that keeps them, in a folder of ours."""
    path = folder / FILE
    path.write_text(json.dumps(whole, indent=2))
    return path


def restored(run: Run, read: Callable[[], str]) -> Run:
    """The run with every value whole; what the file says is read if one was cut."""
    if not any(value.endswith(CUT) for value in (*run.parameters.values(), *run.tags.values())):
        return run
    whole: Whole = json.loads(read())
    parameters, tags = whole.get("parameters", {}), whole.get("tags", {})
    return replace(run, parameters={**run.parameters, **parameters}, tags={**run.tags, **tags})


def _long(values: Mapping[str, str], most: int) -> Values:
    return {name: value for name, value in values.items() if len(value) > most or value.endswith(CUT)}


def _cut(values: Mapping[str, str], most: int) -> Values:
    return {
        name: value if len(value) <= most else value[: most - len(CUT)] + CUT
        for name, value in values.items()
    }
