"""What must hold whatever was killed: nothing lost, nothing doubled, nothing ungated. Each breach is a sentence."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from pipelines.catalog import dataset, model
from pipelines.contracts import BatchState
from pipelines.ingestion.accounting import places
from pipelines.promotion import champions
from pipelines.stores import Stores
from pipelines.stores.answers.predictions import PREDICTIONS
from pipelines.stores.audit.keys import VERIFYING
from tests.production.asker import Asker
from tests.production.site import Site

MODEL = "flight_delays"


@dataclass(frozen=True)
class Landed:
    """A file as it lay in the landing folder, counted before anybody took it."""

    name: str
    dataset: str
    digest: str
    rows: int


def landed(path: Path) -> Landed:
    """What was landed at a path; it must be read before the file is taken in."""
    content = path.read_bytes()
    rows = sum(1 for _ in csv.reader(content.decode().splitlines())) - 1
    return Landed(path.name, path.name.split("_2013")[0], hashlib.sha256(content).hexdigest(), rows)


def taken(files: list[Landed], stores: Stores) -> bool:
    """Whether every file has come to its end in the ledger, and lies where it is kept."""
    ends = {batch.digest: batch.state for batch in stores.ledger.batches()}
    return all(ends.get(file.digest) in {BatchState.ARCHIVED, BatchState.REFUSED} for file in files)


def of_files(files: list[Landed], stores: Stores) -> Iterator[str]:
    """Each row of each file is in exactly one place, once; each file came to its end by one attempt."""
    ledger = {batch.digest: batch for batch in stores.ledger.batches()}
    for name in sorted({file.dataset for file in files}):
        table = places(dataset(name), stores)
        rows = Counter(table["batch"].to_pylist())
        twice = len(table) - len(set(zip(table["batch"].to_pylist(), table["line"].to_pylist(), strict=True)))
        if twice:
            yield f"{name}: {twice} rows lie in more than one place"
        for file in (each for each in files if each.dataset == name):
            told = ledger.get(file.digest)
            if told is None or told.state is not BatchState.ARCHIVED:
                yield f"{file.name} is {told.state.value if told else 'unknown to the ledger'}"
            elif (said := told.silver + told.quarantined + told.superseded) != file.rows or rows[
                file.digest
            ] != said:
                yield f"{file.name}: {file.rows} rows landed, the ledger says {said}, the tables {rows[file.digest]}"
        yield from _keys(name, stores)


def _keys(name: str, stores: Stores) -> Iterator[str]:
    """No key is twice in silver."""
    spec = dataset(name)
    table = stores.tables.silver(spec).to_table(list(spec.key))
    twice = len(table) - len(table.group_by(list(spec.key)).aggregate([]))
    if twice:
        yield f"silver of {name} has {twice} keys more than once"


def of_answers(asker: Asker, stores: Stores) -> Iterator[str]:
    """Every answer that was given is in the log, once, as it was given, by a version that its gate had passed."""
    given = {each.answer["prediction_id"]: each.answer for each in asker.answered() if each.answer}
    if len(given) != len(asker.answered()):
        yield f"{len(asker.answered()) - len(given)} ids were given to more than one answer"
    engine = sa.create_engine(stores.settings.database, poolclass=sa.pool.NullPool)
    wanted = [PREDICTIONS.c[name] for name in ("prediction_id", "version", "digest", "answer")]
    with engine.connect() as connection:
        logged = {row.prediction_id: row for row in connection.execute(sa.select(*wanted))}
    lost = set(given) - set(logged)
    if lost:
        yield f"{len(lost)} of {len(given)} answers are not in the log"
    other = [i for i in given if i in logged and given[i]["probability"] != logged[i].answer]
    if other:
        yield f"{len(other)} answers are logged otherwise than they were given"
    passed = _passed(stores)
    for version, digest in sorted({(row.version, row.digest) for row in logged.values()}):
        if passed.get(version) != digest:
            yield f"version {version} answered as {digest[:12]}, which no gate has passed"


def _passed(stores: Stores) -> dict[int, str]:
    """The digest of each version whose gate said PASS, from the records."""
    folder = stores.settings.home / "decisions" / MODEL
    records = [json.loads(path.read_text()) for path in folder.glob("[0-9]*.json")]
    return {record["version"]: record["digest"] for record in records if record["decision"] == "PASS"}


def of_champions(stores: Stores) -> Iterator[str]:
    """Whoever was champion had passed, byte for byte, and the alias is where the record says."""
    passed, tenures = _passed(stores), champions.tenures(MODEL, stores)
    if not tenures:
        yield f"{model(MODEL).name} never had a champion"
    for tenure in tenures:
        if tenure.version not in passed:
            yield f"version {tenure.version} became champion without a PASS"
    now = stores.tracking.champion(MODEL)
    if now is None or now.digest != passed.get(now.version):
        yield f"the champion is {now and now.version}, which is not what its gate passed"


def of_keys(site: Site) -> Iterator[str]:
    """What serving mounts holds the key that verifies and none that signs."""
    mounted = site.machine.volumes(site.services["serving"]).values()
    found = {path.name for folder in mounted for path in folder.glob("keys/*")}
    if found != {VERIFYING}:
        yield f"serving sees the keys {', '.join(sorted(found)) or 'not at all'}, not {VERIFYING} alone"


def of_audit(site: Site) -> Iterator[str]:
    """What `evergreen audit verify` finds, run where a worker runs."""
    done = site.command("python", "-m", "pipelines.cli", "audit", "verify", "--json")
    if done.returncode not in {0, 1}:
        yield f"audit verify ended with {done.returncode}: {done.stderr[-500:]}"
        return
    found = json.loads(done.stdout)
    if found["entries"] < 10:
        yield f"the audit log has only {found['entries']} entries"
    yield from (f"audit: {each}" for each in found["findings"])
