"""Run with the production lock: prints the pods that Airflow would make of the tasks of one model, as JSON.

Arguments: the executor, the pod template's file, and `resources` of spec.yaml as JSON.
"""

import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from typing import Any

EXECUTOR, TEMPLATE, RESOURCES = sys.argv[1:]
HOME = tempfile.mkdtemp(prefix="evergreen-pods-")
os.environ.update(
    AIRFLOW_HOME=HOME,
    AIRFLOW__CORE__EXECUTOR=EXECUTOR,
    AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT="600",
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{HOME}/airflow.db",
)


def read_dags() -> list[Any]:
    """The DAGs of the one model, read as the dag-processor reads them, its spec saying these resources."""
    from airflow.dag_processing.dagbag import DagBag

    from pipelines import catalog
    from pipelines.settings import PROJECT

    said = catalog.Resources.model_validate(json.loads(RESOURCES))
    spec = catalog.model("flight_delays").model_copy(update={"resources": said})
    catalog.models = lambda: {spec.name: spec}
    bag = DagBag(str(PROJECT / "dags"))
    assert not bag.import_errors, bag.import_errors
    return list(bag.dags.values())


def loaded() -> bool:
    return "kubernetes.client" in sys.modules


def scheduled(dag: Any) -> Any:
    """The DAG as the scheduler has it, through the database's JSON."""
    from airflow.serialization.serialized_objects import DagSerialization

    return DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))


def pod(dag_id: str, task: Any) -> dict[str, Any]:
    """The pod of a task, put together as the executor does it."""
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
    from kubernetes.client import ApiClient

    made = PodGenerator.construct_pod(
        dag_id=dag_id, task_id=task.task_id, pod_id=f"{dag_id}-{task.task_id}"[:60].replace("_", "-"), try_number=1,
        kube_image="registry.example.com/evergreen:1", date=datetime(2013, 4, 1, tzinfo=UTC), run_id="scheduled",
        args=["python", "-m", "airflow.sdk.execution_time.execute_workload", "--json-string", "{}"],
        pod_override_object=PodGenerator.from_obj(task.executor_config),
        base_worker_pod=PodGenerator.deserialize_model_file(TEMPLATE), namespace="evergreen", scheduler_job_id="1",
    )  # fmt: skip
    return dict(ApiClient().sanitize_for_serialization(made))


def kept(config: dict[str, Any]) -> dict[str, Any]:
    """A task's executor_config after the database's column, where the executor finds it."""
    from airflow.utils.sqlalchemy import ExecutorConfigType
    from sqlalchemy.dialects import sqlite

    column, dialect = ExecutorConfigType(), sqlite.dialect()
    return dict(column.result_processor(dialect, None)(column.bind_processor(dialect)(config)))


def main() -> dict[str, Any]:
    dags = read_dags()
    answer: dict[str, Any] = {"dags": sorted(dag.dag_id for dag in dags), "loaded": loaded()}
    answer["asked"] = sorted(f"{d.dag_id}.{t.task_id}" for d in dags for t in d.tasks if t.executor_config)
    if "Kubernetes" in EXECUTOR:
        answer["pods"] = {}
        for dag in map(scheduled, dags):
            for task in dag.tasks:
                task.executor_config = kept(task.executor_config)
                answer["pods"][f"{dag.dag_id}.{task.task_id}"] = pod(dag.dag_id, task)
    return answer


if __name__ == "__main__":
    print(json.dumps(main()))
