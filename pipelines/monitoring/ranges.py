"""What moved in any range of days that the monitor looked at, told from what it kept of them."""

from dataclasses import dataclass
from datetime import date, timedelta

from pipelines.catalog import ModelSpec
from pipelines.contracts import DriftFinding, EvergreenError, NothingToDo
from pipelines.monitoring.drift import days, kept
from pipelines.monitoring.drift.reference import Reference
from pipelines.monitoring.drift.verdict import look
from pipelines.monitoring.moved import alarms_of, reference_path, share
from pipelines.stores import Stores


@dataclass(frozen=True)
class Ranged:
    """What a version's tests say of the days from `since` to `until`, the surest first; `days` of them were kept.

    `share` of the columns moved, by what the answers hang on. A range is one look, so several make more false alarms.
    """

    model: str
    version: int
    since: date
    until: date
    days: int
    rows: int
    share: float
    findings: tuple[DriftFinding, ...]


def ranged(
    spec: ModelSpec,
    stores: Stores,
    since: date | None = None,
    until: date | None = None,
    version: int | None = None,
) -> Ranged:
    """The tests of a range, of the newest window that was kept if none is named, against a version's training.

    The champion's if no version is named. NothingToDo where no day was kept; an error says which days were.
    """
    number, (first, last) = _span(spec, version, stores)
    until = last if until is None else until
    since = until - timedelta(days=spec.monitor.days - 1) if since is None else since
    if since > until:
        raise EvergreenError(f"{since} is after {until}; name the first day before the last")
    reference, found = (
        reference_of(spec.name, number, stores),
        days.kept(spec.name, number, since, until, stores.tables),
    )
    if not found.parts:
        raise EvergreenError(
            f"no day from {since} to {until} was kept of {spec.name} version {number}; {first} to {last} were"
        )
    told = look(reference, found, alarms_of(spec, len(reference.columns))[0], spec.monitor.difference)
    many = found.days()
    rows = sum(next(iter(columns.values())).rows for columns in found.parts.values())
    return Ranged(spec.name, number, since, until, len(many), rows, share(told, reference), tuple(told))


def _span(spec: ModelSpec, version: int | None, stores: Stores) -> tuple[int, tuple[date, date]]:
    """The version that is asked for, and its first and last kept day."""
    spans = days.spans(spec.name, stores.tables)
    if version is not None:
        stores.tracking.version(spec.name, version)  # an error of its own where there is none
    else:
        champion = stores.tracking.champion(spec.name)
        version = champion.version if champion is not None else None
    if version is None or version not in spans:
        has = f"; versions {', '.join(map(str, sorted(spans)))} have some" if spans else ""
        of = "it has no champion" if version is None else f"version {version} has no kept day"
        raise NothingToDo(
            f"{spec.name}: {of}{has}; `evergreen monitor {spec.name}` keeps those of a champion's window"
        )
    return version, spans[version]


def reference_of(model: str, version: int, stores: Stores) -> Reference:
    """What a version learned from, as its monitor kept it."""
    found = kept.read(None, reference_path(model, version, stores))
    if found is None:
        raise EvergreenError(
            f"the reference of {model} version {version} is gone;"
            f" `evergreen monitor {model}` makes the champion's again"
        )
    return found
