"""Events lost, doubled, late and reordered, and Airflow's processes killed: each batch lands exactly once."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from pipelines.contracts import Say
from pipelines.prove import Proof
from pipelines.prove.triggers.once import (
    Landed,
    Supply,
    breaches,
    commits,
    committed,
    land,
    longest_wait,
    whole,
)
from pipelines.prove.triggers.site import SENSOR, Site, processes, site
from pipelines.prove.triggers.supervisor_kills import kill_supervisors

PROMISE = "Each landed file is in silver exactly once, whatever becomes of events and of Airflow's processes"
PATIENCE = 240.0
NOTICE = 1.0
"""Seconds after which a landed file has settled, so that a run that begins then sees it."""
PASSED_BY = 1
"""Runs that may leave a file which lay there before them: one, behind the claim of a writer that is gone."""
KILLS_OF_SERVICES = 7
"""One kill of a service for so many files."""


def prove(events: int, kills: int, say: Say) -> Proof:
    """Runs every case on one real Airflow, which is gone afterwards."""
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    with site(say) as airflow, TemporaryDirectory() as staging:
        bench = Bench(airflow, Supply(Path(staging), date(2013, 1, 1)), events, failures)
        for case in CASES:
            for row in case(bench):
                rows.append(row)
                say(f"{row['case']}: {row['got']}")
        if kills:
            rows.append(kill_supervisors(airflow, bench.supply, kills, failures))
        airflow.keep = bool(failures)
    return Proof(PROMISE, rows, failures)


@dataclass
class Bench:
    """Where a case works: a site, files to land, and the breaches found so far."""

    site: Site
    supply: Supply
    events: int
    failures: list[str]

    def land(self, dataset: str) -> Landed:
        return land(self.supply.take(dataset), dataset, self.site.settings.landing_path)

    def announced(self, dataset: str) -> int:
        return self.site.airflow.events(f"landing_{dataset}")

    def land_as_event(self, dataset: str) -> Landed:
        """A file whose arrival makes an event of its own, unless another wake-up takes it first."""
        before = self.announced(dataset)
        landed = self.land(dataset)
        lies = self.site.settings.landing_path / landed.name

        def noticed() -> bool:
            return self.announced(dataset) > before or not lies.exists()

        self.site.until(noticed, PATIENCE, f"{landed.name} makes an event")
        return landed

    def land_and_post(self, dataset: str) -> Landed:
        """A file that is told of by an outside system: Airflow ends its own watcher of a DAG that is paused."""
        landed = self.land(dataset)
        self.post(landed)
        return landed

    def post(self, landed: Landed) -> None:
        """An outside system says that the file has arrived."""
        self.site.airflow.post_event(f"landing_{landed.dataset}", {"files": [landed.name]})

    def settle(self, landed: list[Landed]) -> None:
        self.site.until(lambda: committed(self.site.stores, landed), PATIENCE, f"{len(landed)} files are in")

    def passed_by(self, landed: list[Landed], since: float | None) -> int:
        """How many runs that began after a file lay there ended well and left it, for the file left most often."""
        ended = {name: self.site.airflow.runs(f"ingest_{name}") for name in _datasets(landed)}
        spans = {
            name: [_span(run) for run in runs if run["state"] == "success"] for name, runs in ended.items()
        }
        logs = {name: commits(self.site.stores, name) for name in ended}

        def left(file: Landed) -> int:
            lay = max(file.at, since or 0.0) + NOTICE
            taken = min(logs[file.dataset].get(file.digest, [math.inf]))
            return sum(lay < begun and over < taken for begun, over in spans[file.dataset])

        return max(map(left, landed))

    def woken(self, dataset: str) -> int:
        """How many runs of ingestion an event has started."""
        runs = self.site.airflow.runs(f"ingest_{dataset}")
        return sum(run["run_type"] == "asset_triggered" for run in runs)

    def conclude(
        self, case: str, landed: list[Landed], tried: str, since: float | None = None, punctual: bool = True
    ) -> dict[str, Any]:
        """A row: what was expected and what is so; `since`: when the files could first be taken in."""
        broken = breaches(self.site.stores, landed, case)
        self.failures += broken
        waited, left = longest_wait(self.site.stores, landed, since), self.passed_by(landed, since)
        if punctual and left > PASSED_BY:
            self.failures.append(f"{case}: {left} runs left a file that lay there; it waited {waited:.1f} s")
        return {
            "case": case,
            "tried": tried,
            "expected": f"{len(landed)} in silver once",
            "got": whole(landed, broken),
            "longest wait": f"{waited:.1f} s",
            "runs that left it": left,
        }


def _datasets(landed: list[Landed]) -> set[str]:
    return {file.dataset for file in landed}


def _span(run: dict[str, Any]) -> tuple[float, float]:
    """When a run that is over began and ended, in seconds since the epoch."""
    return datetime.fromisoformat(run["start_date"]).timestamp(), datetime.fromisoformat(
        run["end_date"]
    ).timestamp()


def separate_events(bench: Bench) -> dict[str, Any]:
    before = bench.announced("flights")
    landed = [bench.land_as_event("flights") for _ in range(bench.events)]
    bench.settle(landed)
    tried = f"{len(landed)} files, {bench.announced('flights') - before} events"
    return bench.conclude("separate events, one run at a time", landed, tried)


def paused(bench: Bench) -> dict[str, Any]:
    bench.site.airflow.pause("ingest_weather", True)
    bench.site.until(
        lambda: not bench.site.airflow.working("ingest_weather"), PATIENCE, "the last run is over"
    )
    landed = [bench.land_and_post("weather") for _ in range(bench.events)]
    early = [batch for batch in bench.site.stores.ledger.batches("weather") if batch.silver]
    if {batch.digest for batch in early} & {file.digest for file in landed}:
        bench.failures.append("paused: a file was taken in while the DAG was paused")
    bench.site.airflow.pause("ingest_weather", False)
    since = time.time()
    bench.settle(landed)
    return bench.conclude("DAG paused, then not", landed, f"{len(landed)} files while paused", since)


def duplicates(bench: Bench) -> dict[str, Any]:
    landed = []
    for _ in range(bench.events):
        landed.append(bench.land("departures"))
        for _ in range(5):
            bench.post(landed[-1])
    bench.settle(landed)
    return bench.conclude("the same event five times more", landed, f"{5 * len(landed)} events posted")


def reordered(bench: Bench) -> dict[str, Any]:
    landed = []
    for _ in range(bench.events):
        file = bench.supply.take("flights")
        bench.site.airflow.post_event("landing_flights", {"files": [file.name]})
        landed.append(land(file, "flights", bench.site.settings.landing_path))
    bench.settle(landed)
    return bench.conclude("event before its file", landed, f"{len(landed)} events, then the file")


def lost_and_late(bench: Bench) -> list[dict[str, Any]]:
    """The triggerer is down: first only the sweep is left, then events come long after their files."""
    bench.site.kill("airflow-triggerer", whole=True)
    landed = [bench.land("weather") for _ in range(bench.events)]
    bench.settle(landed)
    lost = bench.conclude("events lost, only the sweep", landed, f"{len(landed)} files, no triggerer")
    late = [bench.land("departures") for _ in range(bench.events)]
    before = bench.woken("departures")
    for file in [*late, *landed]:
        bench.post(file)
    bench.site.until(lambda: bench.woken("departures") > before, PATIENCE, "a posted event starts a run")
    bench.settle(late)
    bench.site.start()
    for file in late:
        bench.post(file)
    bench.settle([bench.land_as_event("departures")])
    tried = f"{2 * len(late) + len(landed)} events for files that lay there or were in long ago"
    bench.failures.extend(breaches(bench.site.stores, landed, "events late"))
    return [lost, bench.conclude("events late", late, tried)]


def killed(bench: Bench, service: Literal["scheduler", "triggerer"]) -> dict[str, Any]:
    landed, kills = [], 0
    for number in range(bench.events):
        landed.append(bench.land("flights"))
        if number % KILLS_OF_SERVICES == KILLS_OF_SERVICES // 3 or (bench.events == number + 1 and not kills):
            bench.site.kill(f"airflow-{service}")
            kills += 1
            landed.append(bench.land("flights"))
            bench.site.start()
    bench.settle(landed)
    tried = f"{len(landed)} files, {kills} kills"
    return bench.conclude(f"{service} killed and restarted", landed, tried, punctual=False)


def sensor(bench: Bench) -> dict[str, Any]:
    """A DAG of somebody's own waits for a file, in the triggerer and without a process of a worker."""
    airflow, site = bench.site.airflow, bench.site
    site.until(lambda: SENSOR in airflow.dags(), PATIENCE, f"Airflow knows {SENSOR}")
    run = airflow.call("POST", f"/api/v2/dags/{SENSOR}/dagRuns", {"logical_date": None})["dag_run_id"]

    def state() -> str:
        return str(airflow.tasks(SENSOR, run)[0]["state"])

    site.until(lambda: state() == "deferred", PATIENCE, "the sensor is parked")
    identity = airflow.tasks(SENSOR, run)[0]["id"]
    site.until(
        lambda: not any(identity in p.title for p in processes(site.sessions)), 15, "no worker is held"
    )
    landed = [bench.land_as_event("weather")]
    site.until(lambda: state() == "success", PATIENCE, "the sensor goes on")
    bench.settle(landed)
    return bench.conclude("a sensor waits for a file", landed, "1 sensor, parked without a worker's process")


CASES: tuple[Callable[[Bench], list[dict[str, Any]]], ...] = (
    lambda bench: [separate_events(bench)],
    lambda bench: [paused(bench)],
    lambda bench: [duplicates(bench)],
    lambda bench: [reordered(bench)],
    lost_and_late,
    lambda bench: [sensor(bench)],
    lambda bench: [killed(bench, "triggerer")],
    lambda bench: [killed(bench, "scheduler")],
)
