"""The features that a model asks for: whether they are there, can be computed, are honest, and are used."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError
from pipelines.loop.checkup.faults import Fault, told
from pipelines.loop.checkup.files import line_of
from pipelines.stores import Stores
from pipelines.stores.feature_store.views import ViewVersion

if TYPE_CHECKING:
    from pipelines.stores.feature_store.described import Described

MOMENT = datetime(2013, 1, 1, tzinfo=UTC)
SLOW = 60.0
"""Seconds of one computation that somebody should look at."""


def check(spec: ModelSpec, stores: Stores) -> Iterator[Fault]:
    """What is wrong with the views of a model's features, and what of its datasets nobody reads."""
    known, read = stores.features.described, {spec.label.dataset}
    for view, names in spec.features_by_view.items():
        yield from _asked(spec, view, names, known)
        if view in known:
            version = known[view].version
            read |= version.sources
            yield from _computed(version, stores)
            yield from _looked_after(version, stores)
    path = spec.folder / "spec.yaml"
    for name in sorted(set(spec.datasets) - read):
        what = f"it names the dataset {name}, which neither its labels nor its features read"
        yield Fault(
            f"{path}:{line_of(path, 'datasets:')}", what, "leave it out: trainings wait for it", breaks=False
        )
    for name in sorted(read - set(spec.datasets)):
        what = f"its features read {name}, which it does not name"
        yield Fault(
            f"{path}:{line_of(path, 'datasets:')}",
            what,
            "name it, so that trainings wait for it",
            breaks=False,
        )


def _asked(spec: ModelSpec, view: str, names: list[str], known: "dict[str, Described]") -> Iterator[Fault]:
    """The view is there, has the features, and is looked up by entities that a request names."""
    path = spec.folder / "spec.yaml"
    where = f"{path}:{line_of(path, f'{view}:')}"
    if view not in known:
        yield Fault(where, f"no feature view {view!r}", f"there are: {', '.join(known) or 'none'}")
        return
    needed = [name.partition(":")[2] for name in spec.degraded.required if name.startswith(f"{view}:")]
    for feature in dict.fromkeys([*names, *needed]):
        if feature not in {"*", *known[view].features}:
            yield Fault(
                where, f"{view} has no feature {feature!r}", f"it has: {', '.join(known[view].features)}"
            )
    missing = sorted(set(known[view].entities) - set(spec.entities))
    if missing:
        what = f"{view} is looked up by {', '.join(missing)}, which no request names"
        yield Fault(where, what, "name it under entities")


def _computed(version: ViewVersion, stores: Stores) -> Iterator[Fault]:
    """Its SQL runs on tables without rows and gives what its definition says; what landed does not show the future."""
    import duckdb

    from pipelines.features import leakage, view_rows

    path = stores.settings.feature_repo / f"{version.view}.sql"
    try:
        found = view_rows.rows(version, MOMENT - timedelta(days=1), MOMENT, stores)
    except (duckdb.Error, EvergreenError) as error:
        yield Fault(str(path), str(error).splitlines()[0], "mend the SQL or its look-back")
        return
    yield from _columns(version, set(found.column_names), path, stores)
    start, end = _landed(version, stores)
    if start and end and end - start > timedelta(days=1):
        try:
            leakage.check(version, start, end, stores)
        except leakage.ReadsTheFuture as error:
            yield told(f"{path}: {error}")


def _columns(version: ViewVersion, given: set[str], path: Path, stores: Stores) -> Iterator[Fault]:
    from pipelines.features import view_rows

    declared = stores.features.described[version.view]
    wanted = {*declared.entities, *declared.features, *view_rows.TIMES}
    for name in sorted(wanted - given):
        yield Fault(
            str(path), f"it does not give {name}, which {version.view}.py declares", "add it to its select"
        )
    for name in sorted(given - wanted):
        yield Fault(
            str(path),
            f"it gives {name}, which {version.view}.py does not declare",
            "declare it or leave it out",
        )


def _landed(version: ViewVersion, stores: Stores) -> tuple[datetime | None, datetime | None]:
    """From when until when what has landed of a view's datasets was known."""
    taken = [
        b for b in stores.ledger.batches() if b.dataset in version.sources and b.state.taken and b.first_known
    ]
    return (
        min((b.first_known for b in taken if b.first_known), default=None),
        max((b.last_known for b in taken if b.last_known), default=None),
    )


def _looked_after(version: ViewVersion, stores: Stores) -> Iterator[Fault]:
    """Somebody said what its values may be, and computing them costs no more than it should."""
    from pipelines.stores.feature_store.health import Health

    suite = stores.settings.expectations / "features" / f"{version.view}.json"
    if not suite.is_file():
        what = f"nothing is expected of the values of {version.view}"
        yield Fault(str(suite), what, "write a Great Expectations suite", breaks=False)
    newest = [found for found in Health(stores.settings.database).latest() if found.view == version.view]
    for found in newest:
        if found.seconds > SLOW:
            what = (
                f"the last computation of {version.view} took {found.seconds:.0f} s for {found.rows:,} rows"
            )
            path = stores.settings.feature_repo / f"{version.view}.sql"
            yield Fault(str(path), what, "let its SQL read less, or tick more seldom", breaks=False)
