"""`make production-test`: what docker-compose.yml declares, run, broken under load, and held to its promise."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from rich.console import Console

from pipelines import catalog
from pipelines.cli.tour import example
from pipelines.contracts import EvergreenError
from pipelines.loop.replay import replay
from tests.production import promise
from tests.production.airflow import Airflow
from tests.production.asker import Asker, ask
from tests.production.faults import KILLED, Felt, strike
from tests.production.installed import install
from tests.production.machine import missing
from tests.production.promise import MODEL, Landed, landed
from tests.production.services import until
from tests.production.site import Site, site
from tests.production.table import table

PROGRAMS = ("initdb", "postgres", "pg_isready", "setpriv", "redis-server", "redis-cli", "wget")
LOCKS = ("production.txt", "objects.txt")
WORKERS = {"EVERGREEN_SERVING_WORKERS": "2"}
OPENING = (date(2013, 1, 1), date(2013, 2, 28))
FIRST_CHAMPION, DRAINED = 900, 600
console = Console(width=150)


class Said:
    """Progress, with the seconds since the start."""

    def __init__(self) -> None:
        self._begun = monotonic()

    def __call__(self, text: str) -> None:
        console.print(f"{monotonic() - self._begun:6.1f} s  {text}", highlight=False, markup=False)


def main() -> int:
    """0 if the promise holds, 1 if it does not, 2 if this machine lacks what it takes."""
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument(
        "--bin", type=Path, help="where the locks' programs are; unset: they are installed anew"
    )
    told.add_argument("--keep", action="store_true", help="leave its folder, with every log, behind")
    told.add_argument("--faults", nargs="*", default=KILLED, help="the services to kill, in order")
    options = told.parse_args()
    if lacking := missing(PROGRAMS):
        console.print(f"Not run: this machine has no {', '.join(lacking)}")
        return 2
    home = Path(tempfile.mkdtemp(prefix="evergreen-production-"))
    home.chmod(0o711)  # PostgreSQL runs as a user of its own
    broken: list[str] = ["it did not come to its end"]
    try:
        programs = options.bin.absolute() if options.bin else install(home / "programs", *LOCKS)
        with site(home, programs, WORKERS) as built:
            broken = run(built, options.faults, Said())
    except EvergreenError as error:
        broken = [str(error)]
    finally:
        if not (broken or options.keep):
            shutil.rmtree(home, ignore_errors=True)
    for what in broken:
        console.print(f"BROKEN: {what}", style="red", markup=False)
    if broken:
        console.print(f"Its logs are in {home / 'logs'}")
    return 1 if broken else 0


def run(built: Site, faults: list[str], tell: Said) -> list[str]:
    """Everything, from an empty folder to the table; what of the promise is broken."""
    built.start(tell)
    airflow = Airflow(built)
    airflow.log_in()
    alone(airflow, tell)
    files = list(land(built, *OPENING, "bulk"))
    tell(f"landed {len(files)} files, {sum(file.rows for file in files):,} rows")
    asker = first_champion(built, tell)
    felt = []
    for number, name in enumerate(faults, 1):
        day = OPENING[1] + timedelta(days=number)
        files += land(built, day, day, "1d")
        felt.append(strike(name, files, built, airflow, asker, tell))
    seconds = until("all tasks are done", lambda: not airflow.open(), DRAINED)
    asker.stop()
    tell(f"nothing is left to do ({seconds:.0f} s after the last fault was over)")
    last = ask(asker.url, question(OPENING[1] + timedelta(days=len(faults)))).answer
    broken = [*judged(built, files, asker, airflow, felt, tell)]
    if last is None or last["degraded"]:
        broken.append("the features of the last day are not online: nobody is answered with them")
    console.print(table(felt))
    return broken


def alone(airflow: Airflow, tell: Said) -> None:
    """Only what the model needs goes on: on few processors others' trainings would hide what a fault costs."""
    spec = catalog.model(MODEL)
    wanted = {
        "features",
        f"retrain_{MODEL}",
        f"monitor_{MODEL}",
        *(f"ingest_{name}" for name in spec.datasets),
    }
    until("Airflow knows the DAGs", lambda: wanted <= airflow.dags(), 600, 1.0)
    for dag in sorted(airflow.dags() - wanted):
        airflow.pause(dag)
    tell(f"Airflow knows {len(airflow.dags())} DAGs")


def land(built: Site, first: date, last: date, every: str) -> Iterator[Landed]:
    """The real flights of these days, landed as files; a file is read before anybody can take it."""
    aside, landing = built.machine.home / "aside", built.stores.settings.landing_path
    landing.mkdir(parents=True, exist_ok=True)
    for path in replay(MODEL, first, last, every, aside):  # type: ignore[arg-type]
        found = landed(path)
        path.rename(landing / path.name)
        yield found


def question(last: date) -> dict[str, Any]:
    """The spec's own example, as a flight an hour after the last day that landed."""
    hours = (datetime.combine(last + timedelta(days=1), time.min, UTC) + timedelta(hours=h) for h in (1, 5))
    moments = zip(("scheduled_departure", "scheduled_arrival"), hours, strict=True)
    return example(catalog.model(MODEL), {name: f"{moment:%Y-%m-%dT%H:%M:%SZ}" for name, moment in moments})


def first_champion(built: Site, tell: Said) -> Asker:
    """Who asks all the time, once the first champion answers: trained, judged and promoted by Airflow's workers."""
    asker = Asker(f"{built.asked('serving')}/v1/models/{MODEL}/predictions", question(OPENING[1]))
    seconds = until(
        "the first champion answers", lambda: ask(asker.url, asker.body).answer is not None, FIRST_CHAMPION, 1
    )
    tell(f"the first champion answers, {seconds:.0f} s after its files landed")
    asker.start()
    return asker


def judged(
    built: Site, files: list[Landed], asker: Asker, airflow: Airflow, felt: list[Felt], tell: Said
) -> Iterator[str]:
    """What of the promise is broken, and in what numbers it was held."""
    stores = built.stores
    assert files
    assert asker.answered()
    yield from promise.of_files(files, stores)
    yield from promise.of_answers(asker, stores)
    yield from promise.of_champions(stores)
    yield from promise.of_keys(built)
    yield from promise.of_audit(built)
    yield from (f"{each.fault}: not recovered from" for each in felt if not each.recovered)
    runs = airflow.runs()
    if runs.get("failed"):
        yield f"{runs['failed']} runs of Airflow failed"
    rows = sum(file.rows for file in files)
    tell(f"{len(files)} files with {rows:,} rows, each row in one place; runs of Airflow: {runs}")
    tell(f"{len(asker.answered()):,} answers given, {len(asker.asked) - len(asker.answered())} withheld")


if __name__ == "__main__":
    sys.exit(main())
