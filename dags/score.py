"""score_<model>: every row of a file is asked of the champion, and the answers lie in a Delta table."""

from airflow.sdk import Asset, Param, dag, get_parsing_context, task
from evergreen_airflow.stages import START, defaults, pod, stage

from pipelines.catalog import ModelSpec, models

DOC = """
Asks the champion of **{name}** every row of a file in `var/scoring/{name}`, CSV or Parquet with a column for each field
that the model is asked with, and adds the answers to the Delta table `scores/{name}`: equal to what the prediction API
would answer. A row that is no question has its problem told in its place.

**If it fails:** nothing of that file was added; mend what the message names and start it again. The same bytes by the
same version are added once, however often it runs.
"""


def build(spec: ModelSpec) -> None:
    @dag(
        dag_id=f"score_{spec.name}",
        schedule=None,
        start_date=START,
        catchup=False,
        max_active_runs=1,
        default_args=defaults(spec.owner),
        params={
            "file": Param(
                None,
                type=["null", "string"],
                pattern=r"^[^/\\]+\.(csv|parquet)$",
                title="File",
                description=f"A file of var/scoring/{spec.name}. Empty: every file there.",
            )
        },
        tags=["score", spec.name],
        doc_md=DOC.format(name=spec.name),
    )
    def score() -> None:
        @task(outlets=[Asset(f"scores_{spec.name}")], executor_config=pod(spec, "score"))
        def ask_the_champion(params: dict | None = None) -> list[dict]:
            from pipelines.loop import steps

            return stage(steps.score, spec.name, (params or {}).get("file"))

        ask_the_champion()

    score()


for _spec in models().values():
    if get_parsing_context().dag_id in {None, f"score_{_spec.name}"}:
        build(_spec)
