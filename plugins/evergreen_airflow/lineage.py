"""What each task read and wrote, for Airflow's OpenLineage provider; it alone imports this, where it is told to send.

`[openlineage] extractors` names `Stages`. Datasets are gathered where the stage ran and kept until the provider asks,
which may be in a fork, where delta-rs opens no table.
"""

import logging
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from airflow.providers.openlineage.extractors.base import BaseExtractor, OperatorLineage
from airflow.sdk import get_current_context
from openlineage.client import facet_v2
from openlineage.client.event_v2 import InputDataset, OutputDataset

from pipelines.record.openlineage.told import Lineage, told
from pipelines.settings import settings
from pipelines.stores import Stores

log = logging.getLogger(__name__)
KEPT: dict[str, Lineage] = {}
"""What the stages of the task that runs here said, by that task."""
FACETS = {
    "columnLineage": "column_lineage_dataset.ColumnLineageDatasetFacet",
    "dataQualityAssertions": "data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet",
    "dataQualityMetrics": "data_quality_metrics_input_dataset.DataQualityMetricsInputDatasetFacet",
    "documentation": "documentation_dataset.DocumentationDatasetFacet",
    "outputStatistics": "output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet",
    "ownership": "ownership_dataset.OwnershipDatasetFacet",
    "schema": "schema_dataset.SchemaDatasetFacet",
    "storage": "storage_dataset.StorageDatasetFacet",
    "tags": "tags_run.TagsRunFacet",
    "test": "test_run.TestRunFacet",
    "version": "dataset_version_dataset.DatasetVersionDatasetFacet",
}
"""The class of each facet, all of them the spec's own."""


class Stages(BaseExtractor):
    """Tells OpenLineage what the stages of a task read and wrote, once they have ended."""

    @classmethod
    def get_operator_classnames(cls) -> list[str]:
        return ["_PythonDecoratedOperator", "DecoratedSensorOperator", "Approval"]

    def _execute_extraction(self) -> OperatorLineage:
        return OperatorLineage()

    def extract_on_complete(self, task_instance: Any) -> OperatorLineage:
        found = KEPT.get(str(task_instance.id), Lineage())
        return OperatorLineage(
            inputs=[_dataset(InputDataset, each) for each in found.inputs],
            outputs=[_dataset(OutputDataset, each) for each in found.outputs],
            run_facets=_facets(found.run),
        )


def keep(function: Callable[..., Any], asked: Sequence[Any], answer: Any) -> None:
    """Keep what a stage read and wrote; what cannot be told is logged, and fails nothing."""
    try:
        task = str(get_current_context()["ti"].id)
        found = told(function.__name__, asked, answer, Stores(settings()))
    except Exception as error:
        log.warning("OpenLineage is not told what %s read and wrote: %s", function.__name__, error)
        return
    before = KEPT.get(task, Lineage())
    KEPT.clear()
    KEPT[task] = Lineage(before.inputs + found.inputs, before.outputs + found.outputs, before.run | found.run)


def _dataset(kind: type, plain: dict[str, Any]) -> Any:
    """A dataset as the client has it."""
    groups = {name: _facets(plain[name]) for name in plain if name.lower().endswith("facets")}
    return kind(namespace=plain["namespace"], name=plain["name"], **groups)


def _facets(plain: dict[str, Any]) -> dict[str, Any]:
    return {key: _facet(key, said) for key, said in plain.items()}


def _facet(key: str, said: dict[str, Any]) -> Any:
    if key == "tags":  # the client adds its own, and looks into these
        said = {"tags": [facet_v2.tags_run.TagsRunFacetFields(**each) for each in said["tags"]]}
    return attrgetter(FACETS[key])(facet_v2)(**said)
