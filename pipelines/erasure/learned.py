"""Which models learned from rows: told by the training sets that hold them, before those are taken out."""

from dataclasses import dataclass
from pathlib import Path

from pipelines import catalog
from pipelines.erasure.delta import theirs
from pipelines.erasure.subjects import Sought
from pipelines.stores import Stores
from pipelines.training.training_set import path_of


@dataclass(frozen=True)
class Learned:
    """A version whose training set holds `rows` of the persons; None if its training set is gone, so nobody can tell.

    `serves` if it is champion: then a training without them is due.
    """

    model: str
    version: int
    rows: int | None
    serves: bool


def learned(sought: Sought, stores: Stores) -> list[Learned]:
    """Every registered version that learned from one of them, or may have."""
    found = []
    for name, spec in sorted(catalog.models().items()):
        if not _asks_of(sought, spec):
            continue
        champion = stores.tracking.champion(name)
        for version in stores.tracking.records.versions(name):
            rows = _rows(path_of(name, version.tags.get("training_set", ""), stores), sought)
            if rows != 0:
                serves = champion is not None and champion.version == version.version
                found.append(Learned(name, version.version, rows, serves))
    return found


def _asks_of(sought: Sought, spec: catalog.ModelSpec) -> bool:
    """Whether a model's rows name persons of one of the columns, or are made from rows that do."""
    named = {*spec.entities, *spec.request}
    read = {catalog.datasets()[name].subject for name in spec.datasets if name in catalog.datasets()}
    return bool(sought.of(named) or sought.of(name for name in read if name))


def _rows(path: Path, sought: Sought) -> int | None:
    import pyarrow.parquet as pq

    if not path.exists():
        return None
    return int(theirs(sought, ())(pq.read_table(path)).combine_chunks().true_count)
