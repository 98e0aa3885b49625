"""Read a day's file with pandas, hold it against its Great Expectations suite, append it to a Delta table."""

import json
import os
from typing import TYPE_CHECKING, Any

from benchmarks.stock_dag.places import Home
from pipelines.catalog import dataset
from pipelines.settings import PROJECT

if TYPE_CHECKING:
    import pandas as pd


def ingest(name: str, window: str, home: Home) -> dict[str, Any]:
    """The number of rows that were appended. A file that breaks a rule is refused as a whole: RuntimeError."""
    import pandas as pd
    from deltalake import write_deltalake

    columns = dataset(name).columns
    times = [each for each, column in columns.items() if column.type == "timestamp"]
    words = {each: "str" for each, column in columns.items() if column.type == "string"}
    rows = pd.read_csv(home.landed(name, window), parse_dates=times, dtype=words)
    broken = validate(rows, name)
    if broken:
        raise RuntimeError(f"{name}_{window}: {'; '.join(broken)}")
    whole = rows.select_dtypes("integer").columns  # of two files one may have gaps in it and the other none
    write_deltalake(home.table(name), rows.astype(dict.fromkeys(whole, "float64")), mode="append")
    return {"dataset": name, "rows": len(rows)}


def validate(rows: "pd.DataFrame", name: str) -> list[str]:
    """The critical expectations that the rows do not meet."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("landing")
    batches = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("file")
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations(name)))
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name=name, data=batches, suite=suite)
    )
    outcome = definition.run(batch_parameters={"dataframe": rows}, result_format="SUMMARY")
    return [
        str(each.expectation_config.type)
        for each in outcome.results
        if not each.success and each.expectation_config.severity == "critical"
    ]


def expectations(name: str) -> list[dict[str, Any]]:
    """The suite's rules, without those whose bounds come of earlier batches: no tutorial has them."""
    suite = json.loads((PROJECT / "expectations" / f"{name}.json").read_text())
    return [each for each in suite["expectations"] if "$PARAMETER" not in json.dumps(each)]
