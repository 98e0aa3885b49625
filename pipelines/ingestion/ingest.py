"""Takes landed files in: each row ends in exactly one of silver, quarantine and superseded."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import pyarrow as pa

from pipelines.catalog import DatasetSpec, datasets
from pipelines.contracts import Batch, BatchState, Claim, EvergreenError, IngestResult, TransientError
from pipelines.ingestion.arrivals import bring_back, discover, kept, name_fault, put_away, recover
from pipelines.ingestion.faults import contained, failed, infrastructure, unforeseen
from pipelines.reading import schema
from pipelines.reading.copies import profile, set_copies_aside, set_known_aside
from pipelines.reading.files import add_raw_lines, read, refuse_if_too_many
from pipelines.reading.records import Refused, Unsettled, digest_of
from pipelines.reading.staging import BAD, COPIES, LANDED, OTHERS, Staging, staging
from pipelines.stores import Stores
from pipelines.stores.audit import events
from pipelines.stores.locks import at_work
from pipelines.stores.tables import Moved, Stream, silver_schema
from pipelines.validation.reports import report_path
from pipelines.validation.validate import validate

__all__ = ["discover", "dry_run", "ingest", "ingest_dataset"]

LOG = logging.getLogger(__name__)
PLACE = [("_batch", pa.string()), ("_attempt", pa.int64()), ("file", pa.string()), ("line", pa.int64())]
QUARANTINE = pa.schema([*PLACE, ("rule", pa.string()), ("reason", pa.string()), ("raw", pa.binary())])
SUPERSEDED = pa.schema([*PLACE, ("because", pa.string())])
POLL_SECONDS = 0.2
TURNS = 100
"""How often other batches may come first before a run gives up for now."""
Alive = Callable[[], None]


def ingest_dataset(spec: DatasetSpec, stores: Stores) -> list[IngestResult]:
    """Takes in every settled file of a dataset, by name, and ends what earlier runs left unfinished.

    A file that could not be taken in is told of too: its result has not ended, says why, and its file stays.
    """
    with _infrastructure(spec.name), at_work(stores.settings):
        recover(stores)
        schema.apply(spec, stores)
        events.batches(stores, spec.name)
        released, left = _unfinished(spec, stores)
        waiting = [*released, *discover(spec, stores)]
        claims = ((batch, stores.ledger.claim(batch, stores.settings.lease_seconds)) for batch in waiting)
        done, busy = [], []
        with events.telling(stores, spec.name) as tell:
            for batch, claim in claims:
                if claim is None:
                    busy.append(batch)
                else:
                    tell(batch.digest)
                    done.append(contained(batch, partial(_take, spec, batch, claim, stores), printable))
        # What another run is working on comes last: by then it may have ended.
        late = [contained(batch, partial(ingest, spec, batch, stores), printable) for batch in busy]
        return [*left, *done, *late]


def ingest(spec: DatasetSpec, batch: Batch, stores: Stores) -> IngestResult:
    """Takes one file in, exactly once however often it is called; where its rows went.

    A file that cannot be trusted is refused with one reason. TransientError if it vanished or changed, or if
    another run keeps working on it.
    """
    fault = name_fault(batch.name)
    if fault is not None:
        raise EvergreenError(f"{batch.name!r} is never opened: {fault}")
    lease = stores.settings.lease_seconds
    deadline = time.monotonic() + 2 * lease
    with _infrastructure(batch.name), at_work(stores.settings):
        stores.ledger.see(batch)
        while True:
            claim = stores.ledger.claim(batch, lease)
            if claim is not None:
                with events.telling(stores, spec.name) as tell:
                    tell(batch.digest)
                    return _take(spec, batch, claim, stores)
            ended = stores.ledger.result(batch.digest, spec.name)
            if ended is not None and ended.state.ended and not stores.ledger.releasing(ended):
                put_away(ended, stores)
                return _known(batch, stores)
            if time.monotonic() > deadline:
                raise Unsettled(f"{batch.name} is being taken in by another run; try again when it has ended")
            time.sleep(POLL_SECONDS)


def dry_run(path: Path, stores: Stores) -> IngestResult:
    """What would become of a file, by its name, if it landed now; writes nothing but the report."""
    matching = [spec for spec in datasets().values() if fnmatchcase(path.name, spec.pattern)]
    if not matching:
        raise EvergreenError(f"no dataset has a pattern that {path.name!r} matches; see pipelines/datasets/")
    if not path.is_file():
        raise EvergreenError(f"{path} is no file; name one")
    spec, batch = matching[0], Batch(digest_of(path), matching[0].name, path.name, path.stat().st_size)
    with staging(spec, stores.settings) as staged:
        try:
            judged = _judged(spec, batch, path, staged, stores)
            set_known_aside(spec, batch.digest, staged, stores, None)
            return _result(spec, batch, staged, judged, None)
        except Refused as error:
            return _refused(spec, batch, str(error), stores)


def _unfinished(spec: DatasetSpec, stores: Stores) -> tuple[list[Batch], list[IngestResult]]:
    """Archives what was committed only, and gives the batches whose released rows are to be judged.

    Also what could not be put away, as results that have not ended.
    """
    released, left = [], []
    for batch in stores.ledger.pending(spec.name):
        bring_back(replace(batch, state=BatchState.REFUSED), stores)
    for ended in stores.ledger.unfinished(spec.name):
        batch = Batch(ended.digest, ended.dataset, ended.name, 0, ended.state)
        found = contained(batch, partial(_archived, ended, stores), printable)
        left += [found] if not found.state.ended else []
        released += [batch] if stores.ledger.releasing(ended) else []
    return released, left


def _archived(ended: IngestResult, stores: Stores) -> IngestResult:
    if ended.state is BatchState.COMMITTED:
        put_away(ended, stores)
    return ended


def _take(spec: DatasetSpec, batch: Batch, claim: Claim, stores: Stores) -> IngestResult:
    """Decides a claimed batch and puts its file away; one that a fault of ours keeps out is noted and stays."""
    try:
        result = _decide(spec, batch, claim, stores)
    except BaseException as error:
        with suppress(Exception):
            stores.ledger.let_go(claim)
        if not unforeseen(error):
            raise
        result = failed(batch, claim, error, printable, stores)
        if not result.state.ended:
            return result
        result = _given_up(spec, batch, result, stores)
    stores.ledger.record(result, claim)
    put_away(_known(batch, stores), stores)
    return _known(batch, stores)


def _given_up(spec: DatasetSpec, batch: Batch, result: IngestResult, stores: Stores) -> IngestResult:
    """The refusal of a file; of released rows, that they stay as they were."""
    if batch.state.taken:
        return replace(_known(batch, stores), reason=result.reason)
    return _refused(spec, batch, str(result.reason), stores)


def _known(batch: Batch, stores: Stores) -> IngestResult:
    found = stores.ledger.result(batch.digest, batch.dataset)
    if found is None:
        raise TransientError(f"the ledger lost batch {batch.digest}; run again")
    return found


def _decide(spec: DatasetSpec, batch: Batch, claim: Claim, stores: Stores) -> IngestResult:
    """Commits the batch, or refuses it; a fault of the disk is neither."""
    try:
        return _commit(spec, batch, claim, stores)
    except Refused as error:
        if batch.state.taken:
            return replace(_known(batch, stores), reason=str(error))
        if digest_of(stores.settings.landing_path / batch.name) != batch.digest:
            raise Unsettled(f"{batch.name} changed while it was read; it will be looked at again") from error
        LOG.warning("%s: %r refused: %s", spec.name, batch.name, error)
        return _refused(spec, batch, str(error), stores)


def _commit(spec: DatasetSpec, batch: Batch, claim: Claim, stores: Stores) -> IngestResult:
    """Writes a file's rows to quarantine and superseded, and then to silver, whose commit decides."""
    before = stores.ledger.result(batch.digest, spec.name) if batch.state.taken else None
    txn = f"{batch.digest}+{claim.round}" if before else batch.digest
    won = stores.tables.committed("silver", spec.name, txn)
    if won is None:
        path = kept(before, stores) if before else stores.settings.landing_path / batch.name
        with staging(spec, stores.settings) as staged:
            alive = _renewing(claim, stores)
            judged = _judged(spec, batch, path, staged, stores, before, alive)
            done: dict[str, int] = {}
            for _ in range(TURNS):
                base = _set_known_aside(spec, batch, staged, stores, before)
                result = replace(_result(spec, batch, staged, judged, before), attempt=claim.token)
                alive()
                stores.ledger.prepare(claim, result)
                try:
                    if _written(batch, claim, txn, done, base, staged, stores):
                        return result
                    break
                except Moved:
                    continue
        won = stores.tables.committed("silver", spec.name, txn)
    if won is None:
        raise Unsettled(f"{batch.name}: other batches kept coming first; run again")
    return stores.ledger.prepared(batch.digest, spec.name, won)


def _set_known_aside(
    spec: DatasetSpec, batch: Batch, staged: Staging, stores: Stores, before: IngestResult | None
) -> int:
    """Takes out of play what silver holds; the version of silver that this holds for."""
    base = stores.tables.opened("silver", spec.name, silver_schema(spec))
    set_known_aside(spec, None if before else batch.digest, staged, stores, base)
    return base


@dataclass(frozen=True)
class _Judged:
    """What reading and validation said of a file: how many rows, what to tell, and where the report lies."""

    parsed: int
    note: str | None
    report: str | None


def _judged(
    spec: DatasetSpec,
    batch: Batch,
    path: Path,
    staged: Staging,
    stores: Stores,
    before: IngestResult | None = None,
    alive: Alive = lambda: None,
) -> _Judged:
    """Reads and validates a file into staging, where each row then lies in its place.

    With `before`, only the rows are judged that were quarantined before.
    """
    reading = read(path, spec, staged, alive)
    if reading.digest != batch.digest:
        raise Unsettled(f"{batch.name} changed while it was read; it will be looked at again")
    parsed = reading.parsed if before is None else _only_released(before, staged, stores)
    set_copies_aside(spec, staged)
    validation = validate(spec, staged, stores, batch.digest)
    if validation.blocked:
        raise Refused(f"validation: {validation.blocked}")
    if before is None:
        refuse_if_too_many(spec, staged, parsed)
    add_raw_lines(path, spec, staged, batch.digest)
    note = printable("; ".join(filter(None, [reading.note, *validation.warnings]))) or None
    return _Judged(parsed, note, validation.report)


def _only_released(before: IngestResult, staged: Staging, stores: Stores) -> int:
    """Leaves the rows in staging that lie in quarantine now; how many they are."""
    lines = stores.tables.dataset("quarantine", before.dataset)
    mine = (pa.dataset.field("_batch") == before.digest) & (pa.dataset.field("_attempt") == before.attempt)
    staged.insert("released", lines.to_table(["line"], filter=mine) if lines else pa.table({"line": []}))
    held = "(SELECT line FROM released)"
    staged.execute(f"DELETE FROM {BAD} WHERE line NOT IN {held}")
    staged.execute(f"INSERT INTO {OTHERS} SELECT _line FROM {LANDED} WHERE _line NOT IN {held}")
    staged.drop_from_play()
    return staged.count(LANDED) + staged.count(BAD)


def _written(
    batch: Batch, claim: Claim, txn: str, done: dict[str, int], base: int, staged: Staging, stores: Stores
) -> bool:
    """Whether our silver commit went through. What an attempt leaves without it counts for nothing.

    `done` holds how many rows of each staging table an earlier turn has written; only later ones are added.
    """
    place = f"'{batch.digest}' AS _batch, {claim.token} AS _attempt, {_quoted(batch.name)} AS file, line"
    for layer, table, columns, kinds in (
        ("quarantine", BAD, "rule, reason, raw", QUARANTINE),
        ("superseded", COPIES, "because", SUPERSEDED),
    ):
        count = staged.count(table)
        if count > done.get(table, 0):
            query = (
                f"SELECT {place}, {columns} FROM {table} WHERE rowid >= {done.get(table, 0)} ORDER BY line"
            )
            rows = _rows(staged, query, kinds)
            stores.tables.append(layer, batch.dataset, rows, f"{txn}.{claim.token}.{count}")
            done[table] = count
    rows = Stream(silver_schema(staged.spec), lambda: staged.kept(batch.digest))
    return stores.tables.append("silver", batch.dataset, rows, txn, claim.token, base)


def _rows(staged: Staging, query: str, schema: pa.Schema) -> Stream:
    return Stream(schema, lambda: staged.reader(query, schema))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _renewing(claim: Claim, stores: Stores) -> Alive:
    """A sign of life for the claim, given a few times a lease; TransientError once another outranked it."""
    lease, last = stores.settings.lease_seconds, time.monotonic()

    def alive() -> None:
        nonlocal last
        if time.monotonic() - last > lease / 4:
            last = time.monotonic()
            if not stores.ledger.renew(claim, lease):
                raise Unsettled(f"another run took batch {claim.digest[:12]} over; this one stops")

    return alive


def _result(
    spec: DatasetSpec, batch: Batch, staged: Staging, judged: _Judged, before: IngestResult | None
) -> IngestResult:
    """Where the rows go, counted in staging; a release adds to what the batch had before."""
    silver, bad, copies = (staged.count(name) for name in (LANDED, BAD, COPIES))
    if judged.parsed != silver + bad + copies:
        raise RuntimeError(
            f"{batch.name}: {judged.parsed} rows do not add up to {silver} + {bad} + {copies}; a fault of ours"
        )
    first, last = staged.connection.execute(
        f'SELECT min("{spec.available_at}"), max("{spec.available_at}") FROM {LANDED}'
    ).fetchone() or (None, None)
    return IngestResult(
        digest=batch.digest,
        dataset=batch.dataset,
        name=batch.name,
        state=before.state if before else BatchState.COMMITTED,
        parsed=before.parsed if before else judged.parsed,
        silver=silver + (before.silver if before else 0),
        quarantined=bad,
        superseded=copies + (before.superseded if before else 0),
        reason=judged.note,
        first_known=_extreme(min, first, before.first_known if before else None),
        last_known=_extreme(max, last, before.last_known if before else None),
        report=judged.report,
        profile=before.profile if before else profile(spec, staged),
    )


def _extreme(pick: Callable[..., datetime], *times: datetime | None) -> datetime | None:
    known = [time for time in times if time is not None]
    return pick(known) if known else None


def _refused(spec: DatasetSpec, batch: Batch, reason: str, stores: Stores) -> IngestResult:
    report, reason = report_path(spec, stores, batch.digest), printable(reason)
    return IngestResult(
        batch.digest, batch.dataset, batch.name, BatchState.REFUSED, reason=reason, report=report
    )


def printable(text: str) -> str:
    """A text from outside that may be shown anywhere: what is not printable is written as its code."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def _infrastructure(name: str) -> Iterator[None]:
    """A full disk or a database that does not answer is nobody's bad data: it is tried again."""
    try:
        yield
    except infrastructure() as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TransientError(f"{name}: {reason}; nothing was lost, run again when that is mended") from error
