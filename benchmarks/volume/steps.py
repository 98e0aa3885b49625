"""One checkout's stages on days of flights: a line of JSON on standard input asks, a line on standard output answers.

It is run as a script with a checkout first on the path, loads that checkout's code only, and is warm when asked.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

DATASET, WATCHED = "flights", "volume"
KINDS = {
    "distance": "numeric", "departure_delay": "numeric", "arrival_delay": "numeric",
    "carrier": "categorical", "origin": "categorical", "dest": "categorical",
}  # fmt: skip
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ROWS = 65_536
spent = {"validate": [0.0, 0.0]}
"""What Great Expectations took of the ingestion: seconds, and processor seconds."""


class Stages:
    """Ingestion, features and drift in one home."""

    def __init__(self, home: Path) -> None:
        from pipelines.catalog import dataset
        from pipelines.settings import Settings
        from pipelines.stores import Stores

        self.stores = Stores(Settings(_env_file=None, home=home))
        self.spec = dataset(DATASET).model_copy(update={"max_bytes": 10**12})
        self.landing = self.stores.settings.landing_path
        self.landing.mkdir(parents=True, exist_ok=True)

    def ingest(self, files: list[str], **_: Any) -> dict[str, Any]:
        """Land files and take them in: where their rows went, also those of a run that was ended before."""
        from pipelines.ingestion.ingest import ingest_dataset

        names = [Path(file).name for file in files]
        known = {b.name for b in self.stores.ledger.batches() if b.state.ended}
        for file in files:
            if Path(file).name not in known:
                beside = self.landing / f".{Path(file).name}.tmp"
                beside.unlink(missing_ok=True)
                os.link(file, beside)
                beside.replace(self.landing / Path(file).name)
        took = measured(lambda: ingest_dataset(self.spec, self.stores))
        ended = {b.name: b for b in self.stores.ledger.batches() if b.name in names}
        untaken = [name for name in names if name not in ended or not ended[name].state.taken]
        if untaken:
            raise SystemExit(f"{untaken[0]} was not taken in: {ended[untaken[0]].reason if ended else ''}")
        counts = {
            n: sum(getattr(b, n) for b in ended.values()) for n in ("silver", "quarantined", "superseded")
        }
        return {**took, "rows": sum(b.parsed for b in ended.values()), "found": counts}

    def features(self, until: str, **_: Any) -> dict[str, Any]:
        """Bring the feature tables up to a day."""
        from pipelines.contracts import NothingToDo
        from pipelines.features.compute import compute

        made = 0

        def work() -> None:
            nonlocal made
            with suppress(NothingToDo):  # a run that was ended before came as far
                made = sum(compute(datetime.fromisoformat(until), self.stores).rows.values())

        return {**measured(work), "found": {"feature rows": made}}

    def drift(self, since: str, until: str, **_: Any) -> dict[str, Any]:
        """Keep the sketches of the days in silver from one up to the other, and tell the newest day from the others."""
        return {**measured(lambda: self._sketched(*map(datetime.fromisoformat, (since, until)))), "found": {}}

    def _sketched(self, since: datetime, until: datetime) -> None:
        import pyarrow.compute as pc

        from pipelines.monitoring.drift import days
        from pipelines.monitoring.drift.reference import made
        from pipelines.monitoring.drift.sketch import Sketches
        from pipelines.monitoring.drift.verdict import look

        new, time_of = Sketches(KINDS), pc.field(self.spec.event_time)
        silver = self.stores.tables.silver(self.spec)
        asked = (time_of >= since) & (time_of < until)
        for batch in silver.scanner(
            [*KINDS, self.spec.event_time],
            filter=asked,
            batch_size=ROWS,
            batch_readahead=2,
            fragment_readahead=1,
        ).to_batches():
            if batch.num_rows:
                new.merge(_taken(batch, self.spec.event_time))
        tables = self.stores.tables
        days.keep(WATCHED, 1, new, since.date(), tables)
        whole = days.kept(WATCHED, 1, since.date() - timedelta(days=28), until.date(), tables)
        old, last = Sketches(KINDS), Sketches(KINDS)
        newest = max(whole.days(), default=0)
        for part, kept in whole:
            (last if part.day == newest else old).parts[part] = kept
        if len(old.days()) > 1:
            look(made(old, 1), last, 2.0, 0.02)

    def accepted(self, **_: Any) -> dict[str, Any]:
        """What silver and quarantine hold, to be held against another way's: counts and sums, and the refused lines."""
        import duckdb

        from pipelines.ingestion.accounting import quarantine

        silver = self.stores.tables.silver(self.spec)
        with duckdb.connect() as connection:
            connection.register("silver", silver)
            sums = connection.execute(
                "SELECT count(*), sum(distance)::BIGINT, sum(arrival_delay)::BIGINT, sum(_line)::BIGINT FROM silver"
            ).fetchone()
        table = quarantine(self.spec, self.stores).select(["file", "line"])
        held = sorted(zip(table["file"].to_pylist(), table["line"].to_pylist(), strict=True))
        return {"accepted": list(sums or ()), "quarantined": held}


def _taken(batch: Any, time_of: str) -> Any:
    """The sketches of a batch of silver."""
    import numpy as np
    import pyarrow as pa

    from pipelines.monitoring.drift.sketch import taken

    day = batch[time_of].cast(pa.int64()).to_numpy() // (86_400 * 10**6)
    columns = {
        name: batch[name].cast(pa.string())
        if kind == "categorical"
        else batch[name].cast(pa.float64()).fill_null(np.nan).to_numpy()
        for name, kind in KINDS.items()
    }
    return taken(KINDS, columns, day)


def measured(work: Callable[[], Any]) -> dict[str, Any]:
    """What some work takes: seconds, processor seconds, and the most memory that this process had until its end."""
    for each in spent.values():
        each[:] = [0.0, 0.0]
    begun, worked = time.perf_counter(), _processor()
    work()
    took = {"wall": time.perf_counter() - begun, "cpu": _processor() - worked, "peak": peak()}
    return {**took, "of it": {name: list(each) for name, each in spent.items()}}


def _processor() -> float:
    return sum(os.times()[:4])


def peak() -> float:
    """The most memory that this process had, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _timed() -> None:
    """Have the part of Great Expectations in the ingestion timed."""
    ingest: Any = importlib.import_module("pipelines.ingestion.ingest")
    judge = ingest.validate

    def validate(*given: Any, **named: Any) -> Any:
        begun, worked = time.perf_counter(), _processor()
        try:
            return judge(*given, **named)
        finally:
            spent["validate"][0] += time.perf_counter() - begun
            spent["validate"][1] += _processor() - worked

    ingest.validate = validate


def main() -> None:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import datasketches
    import duckdb_sqlalchemy
    import great_expectations

    del datasketches, duckdb_sqlalchemy, great_expectations  # a warm worker has them
    _timed()
    stages = Stages(Path(sys.argv[1]))
    print(json.dumps({"peak": peak()}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(getattr(stages, asked.pop("step"))(**asked), default=str), flush=True)


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))
    main()
