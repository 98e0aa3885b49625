"""The usual way, written well: read_csv as texts, strict numbers and times, Great Expectations on the data frame.

As a person would who must know which rows are bad: GX's summary first, its complete result only where something failed.
"""

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.catalog import dataset
from pipelines.settings import PROJECT

DATASET = "flights"


class Stock:
    """pandas, Great Expectations on pandas, and Parquet."""

    def __init__(self, folder: Path) -> None:
        import great_expectations as gx

        self.folder, self.spec = folder, dataset(DATASET)
        self.folder.mkdir(parents=True, exist_ok=True)
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("landed")
        self._batch = asset.add_batch_definition_whole_dataframe("all")
        text = json.loads((PROJECT / "expectations" / f"{DATASET}.json").read_text())
        plain = [e for e in text["expectations"] if "$PARAMETER" not in json.dumps(e)]
        self._suite = gx.ExpectationSuite(name=DATASET, expectations=plain)

    def take(self, path: Path) -> dict[str, Any]:
        """A file's rows to silver and quarantine; what became of them."""
        import pandas as pd

        texts = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
        texts["_line"] = range(2, len(texts) + 2)
        typed, unsound = self._typed(texts)
        typed = typed[~unsound]
        own = list(self.spec.columns)
        typed = typed[~typed.duplicated(own)]  # the first of equal rows stays
        rivals = typed.duplicated(list(self.spec.key), keep=False)
        failing = self._failing(typed[~rivals])
        silver = typed[~rivals & ~typed["_line"].isin(failing)]
        bad = sorted({*texts["_line"][unsound], *typed["_line"][rivals], *failing})
        silver.to_parquet(self.folder / f"{path.stem}.parquet")
        texts[texts["_line"].isin(bad)].to_parquet(self.folder / f"{path.stem}.bad.parquet")
        sums = [len(silver), *(int(silver[name].sum()) for name in ("distance", "arrival_delay", "_line"))]
        return {"rows": len(texts), "accepted": sums, "quarantined": [[path.name, int(n)] for n in bad]}

    def _typed(self, texts: Any) -> tuple[Any, Any]:
        """Numbers and times, and which rows hold one that is none or lack one they need."""
        import pandas as pd

        typed, unsound = texts.copy(), pd.Series(False, texts.index)
        for name, column in self.spec.columns.items():
            if column.type == "timestamp":
                typed[name] = pd.to_datetime(texts[name], format="ISO8601", utc=True, errors="coerce")
            elif column.type in ("integer", "float"):
                typed[name] = pd.to_numeric(texts[name], errors="coerce")
            unsound |= typed[name].isna() & (texts[name].notna() | (not column.nullable))
        return typed, unsound

    def _failing(self, rows: Any) -> set[int]:
        """The lines of the rows that break a rule; SystemExit if the whole does."""
        rows = rows.set_index("_line", drop=False)
        batch = self._batch.get_batch({"dataframe": rows})
        found = batch.validate(self._suite, result_format="SUMMARY")
        lines: set[int] = set()
        for result in found.results:
            if not result.success and result.expectation_config.severity != "warning":
                if "unexpected_count" not in result.result:
                    raise SystemExit(f"the stock way blocks a batch: {result.expectation_config.type}")
                lines |= self._lines(batch, result.expectation_config)
        return lines

    def _lines(self, batch: Any, config: Any) -> set[int]:
        complete = {"result_format": "COMPLETE", "unexpected_index_column_names": ["_line"]}
        found = batch.validate(config.to_domain_obj(), result_format=complete)
        return {int(row["_line"]) for row in found.result["unexpected_index_list"]}


def main() -> None:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    from benchmarks.volume.steps import measured, peak

    stock = Stock(Path(sys.argv[1]))
    print(json.dumps({"peak": peak()}), flush=True)
    for line in sys.stdin:
        found: list[dict[str, Any]] = []
        files = json.loads(line)["files"]
        took = measured(partial(_take, stock, files, found))
        print(json.dumps({**took, **_sum(found)}), flush=True)


def _take(stock: Stock, files: list[str], found: list[dict[str, Any]]) -> None:
    found += [stock.take(Path(file)) for file in files]


def _sum(found: list[dict[str, Any]]) -> dict[str, Any]:
    accepted = [sum(each) for each in zip(*(f["accepted"] for f in found), strict=True)]
    held = sorted(each for f in found for each in f["quarantined"])
    return {"rows": sum(f["rows"] for f in found), "accepted": accepted, "quarantined": held}


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))
    main()
