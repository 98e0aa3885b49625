"""Computes the feature tables from silver, up to a moment, and brings them online."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from pipelines import catalog
from pipelines.contracts import EvergreenError, FeatureRun, IngestResult, NothingToDo, Say, TransientError
from pipelines.features import health, leakage, publishing
from pipelines.features.frontier import uncounted
from pipelines.features.view_rows import JUST_BEFORE, TICK, TIMES
from pipelines.features.watermark import behind, newest, reachable, sources
from pipelines.stores import Stores
from pipelines.stores.audit import events
from pipelines.stores.feature_store.health import ViewHealth
from pipelines.stores.feature_store.views import ViewVersion
from pipelines.stores.locks import at_work
from pipelines.stores.spark import staged
from pipelines.stores.tracking.registry import CHAMPION, PREVIOUS

CHUNK = timedelta(days=31)  # computed at once; a run that is stopped goes on after the last one
MOST_CHUNKS = 40
"""A series over decades has few rows a month, and each chunk is checked and committed by itself."""
FILES = 64  # a table of more is brought into few
PATIENCE = timedelta(hours=36)
"""How long a dataset that is late holds back the views that read it."""

Window = tuple[datetime, datetime]
"""From (excluded) and until (included): rows that became known in it."""


@dataclass(frozen=True)
class Written:
    """What one window's computation made; `first` is the earliest event time of its rows."""

    rows: int
    first: datetime | None
    health: ViewHealth


def compute(
    as_of: datetime | None,
    stores: Stores,
    say: Say = lambda _: None,
    patience: timedelta = PATIENCE,
    apart: bool = False,
) -> FeatureRun:
    """Bring every feature table up to `as_of`, and the newest values online. Running it again changes nothing.

    Without `as_of` each view goes as far as its own datasets have landed; one of them that is late holds it back
    `patience` at most, and no view that does not read it. A batch that landed late recomputes what it could have been
    known by, no more. Versions of views that are no longer defined are kept up while a champion, or the one before it,
    was trained on them. `apart`: a view that cannot be computed stops no other, unless none can be.
    """
    if as_of is None:
        newest(stores)  # there is something to do
    with at_work(stores.settings):
        until, made, failed = _caught_up(as_of, patience, stores, say, apart)
    waiting = {} if as_of else _waiting(until, stores)
    for view, why in waiting.items():
        say(f"{view}: {why}")
    run = _run(max(until.values()), made, stores)
    return _told(replace(run, waiting=waiting, failed=failed), stores)


def _caught_up(
    as_of: datetime | None, patience: timedelta, stores: Stores, say: Say, apart: bool
) -> tuple[dict[ViewVersion, datetime], dict[ViewVersion, list[Written]], dict[str, str]]:
    """Up to when each view was asked for, what that made, and why some could not be computed.

    A view counts the batches that had landed before it was settled how far it goes: what lands between the two is the
    next run's. Counted in this one, a training would take it for whole, though the features end before it does.
    """
    until, made, failed = dict[ViewVersion, datetime](), dict[ViewVersion, list[Written]](), dict[str, str]()
    versions = live(stores)
    for version in versions:
        landed = stores.ledger.batches()
        until[version] = as_of or reachable(version, stores, patience)
        try:
            made[version] = catch_up(version, until[version], stores, say, landed)
        except TransientError:
            raise
        except (EvergreenError, duckdb.Error) as error:
            if not apart or len(failed) + 1 == len(versions):
                raise
            failed[str(version)] = str(error)
            say(f"{version}: {error}")
    return until, made, failed


def _waiting(until: Mapping[ViewVersion, datetime], stores: Stores) -> dict[str, str]:
    """Which views are much behind some of their data, and for which dataset each of them waits."""
    found = {}
    for version, end in until.items():
        late = behind(stores, sources(version), end)
        names = [f"{name} ({f'{at:%Y-%m-%d %H:%M}' if at else 'never landed'})" for name, at in late.items()]
        if late:
            found[str(version)] = f"known until {end:%Y-%m-%d %H:%M} UTC, held back by {', '.join(names)}"
    return found


def _told(run: FeatureRun, stores: Stores) -> FeatureRun:
    events.features(run, stores)
    return run


def _run(as_of: datetime, made: Mapping[ViewVersion, Sequence[Written]], stores: Stores) -> FeatureRun:
    """What was done, under each view's name; with its version if it is not the current one."""
    current = stores.features.current.values()
    names = {version: version.view if version in current else str(version) for version in made}
    return FeatureRun(
        as_of,
        {names[version]: sum(w.rows for w in written) for version, written in made.items() if written},
        {name: stores.tables.version("features", v.table) or 0 for v, name in names.items()},
        tuple(health.alerts(w.health for written in made.values() for w in written)),
        seconds={names[v]: sum(w.health.seconds for w in written) for v, written in made.items() if written},
    )


def backfill(
    views: Iterable[str], window: Window, step: timedelta, stores: Stores, say: Say = lambda _: None
) -> FeatureRun:
    """Compute a stretch of time anew, from silver as it is now; a run that was stopped goes on where it was.

    The end is what each view has reached, at most: `compute` does what comes after.
    """
    made: dict[ViewVersion, list[Written]] = {}
    for version in [v for v in live(stores) if v.view in set(views)]:
        reached = stores.progress.reached(version.consumer)
        if reached is None:
            raise NothingToDo(f"{version} was never computed; run `evergreen features compute` first")
        end = min(window[1], reached)
        job = f"{version.consumer}:from {window[0].isoformat()} to {end.isoformat()}"
        with at_work(stores.settings):
            made[version] = _again(version, (window[0], end), step, job, stores, say)
        stores.progress.forget(job)
    return _told(_run(window[1], made, stores), stores)


def _again(
    version: ViewVersion, window: Window, step: timedelta, job: str, stores: Stores, say: Say
) -> list[Written]:
    done, made = stores.progress.reached(job) or window[0], []
    for part in parts(window, step):
        if part[1] > done:
            made.append(write(version, part, stores, say))
            stores.progress.mark(job, (), part[1])
    _bring_online(version, window[0], window[1], stores)
    return made


def live(stores: Stores) -> list[ViewVersion]:
    """The versions to compute: the current ones, and those that a model may be answering with."""
    current = stores.features.current
    found = dict.fromkeys(current.values())
    if len(stores.features.registered.versions()) > len(current):
        for name in catalog.models():
            for alias in (CHAMPION, PREVIOUS):
                model = stores.tracking.aliased(name, alias)
                for view, number in (model.views if model else {}).items():
                    found[stores.features.version(view, number)] = None
    return list(found)


def catch_up(
    version: ViewVersion,
    as_of: datetime,
    stores: Stores,
    say: Say,
    landed: Sequence[IngestResult] | None = None,
) -> list[Written]:
    """Compute what a view lacks of the batches `landed`, by default all, and bring it online; window by window."""
    landed = stores.ledger.batches() if landed is None else landed
    if _began(version, landed, stores):
        stores.progress.forget(version.consumer)
    windows, new = pending(version, as_of, landed, stores)
    first_time = stores.progress.reached(version.consumer) is None
    if not windows and stores.tables.version("features", version.table) is None:
        # Nothing is known yet: an empty table can be asked.
        write(version, (as_of - JUST_BEFORE, as_of), stores, say)
    if windows:
        leakage.check(version, windows[0][0], as_of, stores)
    made: list[Written] = []
    for part in [part for window in windows for part in parts(window)]:
        made.append(write(version, part, stores, say))
        if first_time:  # what became known later is in the parts that follow
            known = {arrival for arrival, first in new.items() if first <= part[1]}
            stores.progress.mark(version.consumer, known, part[1])
    if made or stores.features.materialized(version) is None:
        if _landed(version, stores):
            _bring_online(version, min((w.first for w in made if w.first), default=None), as_of, stores)
        stores.progress.mark(version.consumer, new, as_of)
    return made


def _began(version: ViewVersion, landed: Iterable[IngestResult], stores: Stores) -> bool:
    """Whether this is the first that a view reads: how far it went with others, while it had nothing, says nothing.

    Another model's data may be years later: values would be too old from the day they came.
    """
    return bool(
        stores.progress.reached(version.consumer)
        and not stores.progress.consumed(version.consumer)
        and uncounted(version, landed, stores)
    )


def _bring_online(version: ViewVersion, start: datetime | None, as_of: datetime, stores: Stores) -> None:
    if stores.tables.version("features", version.table) is not None:
        stores.features.materialize(version, start, as_of)


def pending(
    version: ViewVersion, as_of: datetime, landed: Iterable[IngestResult], stores: Stores
) -> tuple[list[Window], dict[str, datetime]]:
    """The windows that must be computed, in order, and the arrivals that this takes into account, with since when.

    A batch counts in the features of a look-back after its last row was known, not beyond.
    """
    reached = stores.progress.reached(version.consumer)
    end = max(as_of, reached or as_of)
    new = [batch for batch in uncounted(version, landed, stores) if _first(batch, as_of) <= as_of]
    touched = [
        (b.first_known - JUST_BEFORE, (b.last_known or b.first_known) + version.look_back + TICK)
        for b in new
        if b.first_known is not None
    ]
    if reached is None:
        windows = [(min(start for start, _ in touched), end)] if touched else []
    else:
        grown = [(reached, as_of)] if reached < as_of and _landed(version, stores) else []
        windows = [(start, min(stop, end)) for start, stop in [*touched, *grown]]
    return _merged(windows), {b.arrival: _first(b, as_of) for b in new}


def _landed(version: ViewVersion, stores: Stores) -> bool:
    """Whether anything that a view reads has ever landed."""
    return any(stores.ledger.watermark(name) for name in version.sources)


def _first(batch: IngestResult, default: datetime) -> datetime:
    return batch.first_known or default


def _merged(windows: list[Window]) -> list[Window]:
    """The same stretches of time, none overlapping another."""
    found: list[Window] = []
    for start, end in sorted(windows):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif start < end:
            found.append((start, end))
    return found


def parts(window: Window, size: timedelta | None = None) -> list[Window]:
    """A window in parts of at most `size`, by default a month or what makes few of a very long one."""
    start, end = window
    size = size or max(CHUNK, (end - start) / MOST_CHUNKS)
    cuts = [start + size * n for n in range(int((end - start) / size) + 1)]
    return [(a, b) for a, b in zip(cuts, [*cuts[1:], end], strict=True) if a < b]


def write(version: ViewVersion, window: Window, stores: Stores, say: Say) -> Written:
    """Compute one window, check it, and put it in place of what was there; a critical check that fails stops it."""
    begun = time.monotonic()
    with publishing.computed(version, staged.Window(TIMES, *window), stores) as made:
        seconds = time.monotonic() - begun
        found = health.examine(version.view, version.number, made.rows, window[1], seconds, stores)
        first = _first_event(made.rows) if found.rows else None
        made.publish()
    stores.tables.compact("features", version.table, FILES)
    say(f"{version}: {found.rows:,} rows known until {window[1]:%Y-%m-%d %H:%M}, {seconds:.1f} s")
    return Written(found.rows, first, health.published(found, stores))


def _first_event(rows: pa.Table | pads.Dataset) -> datetime | None:
    """The earliest event time, a batch at a time."""
    column = [TIMES[0]]
    batches = (
        rows.select(column).to_batches() if isinstance(rows, pa.Table) else rows.to_batches(columns=column)
    )
    found = [moment for batch in batches if (moment := pc.min(batch[0]).as_py()) is not None]
    return min(found, default=None)
