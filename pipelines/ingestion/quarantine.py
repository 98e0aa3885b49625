"""What was refused or quarantined, and what a person may do about it: look, mend, release, discard."""

import shutil
from pathlib import Path
from typing import Any

from pipelines.catalog import dataset
from pipelines.contracts import Batch, BatchState, EvergreenError, IngestResult
from pipelines.ingestion.arrivals import bring_back, kept, sync
from pipelines.reading.records import digest_of
from pipelines.stores import Stores
from pipelines.stores.audit import events
from pipelines.stores.erasures import Erasures
from pipelines.stores.ledger import person

TOLD = 3
"""So many rules are named in one line."""


def held(stores: Stores, name: str | None = None) -> list[IngestResult]:
    """Refused files and batches with quarantined rows that nobody has dealt with, in order of arrival."""
    if name is not None:
        dataset(name)
    return stores.ledger.quarantined(name)


def find(prefix: str, stores: Stores) -> IngestResult:
    """The one batch whose digest begins so, or whose file has this name."""
    found = [b for b in stores.ledger.batches() if b.digest.startswith(prefix.lower()) or b.name == prefix]
    if len(found) != 1:
        what = "no batch" if not found else f"{len(found)} batches"
        raise EvergreenError(
            f"{what} with a digest or name {prefix!r}; `evergreen quarantine list` shows those that are held"
        )
    return found[0]


def rows(batch: IngestResult, stores: Stores) -> list[dict[str, Any]]:
    """A batch's quarantined rows: file, line, rule, reason and raw bytes, by line."""
    from pipelines.ingestion import accounting

    table = accounting.quarantine(dataset(batch.dataset), stores, batch.digest)
    return list(table.sort_by([("line", "ascending")]).drop(["_batch", "_attempt"]).to_pylist())


def reasons(name: str, stores: Stores) -> dict[str, str]:
    """Why rows are in quarantine, by their batch's digest: how many broke which rule, those that most did first."""
    from pipelines.ingestion import accounting

    return {digest: _told(rules) for digest, rules in accounting.broken_rules(dataset(name), stores).items()}


def _told(rules: dict[str, int]) -> str:
    said = [f"{n:,} {'row' if n == 1 else 'rows'}: {rule}" for rule, n in [*rules.items()][:TOLD]]
    rest = sum([*rules.values()][TOLD:])
    return "; ".join([*said, *([f"{rest:,} more by {len(rules) - TOLD} other rules"] if rest else [])])


def header(batch: IngestResult, stores: Stores) -> bytes:
    """The first line of the batch's file, to stand above its quarantined rows in a file to mend."""
    path = kept(batch, stores)
    if not path.is_file() or path.suffix not in (".csv",):
        return (",".join(dataset(batch.dataset).columns) + "\n").encode()
    with path.open("rb") as file:
        return file.readline(1 << 20).removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n") + b"\n"


def release(
    batch: IngestResult, stores: Stores, why: str, mended: Path | None = None, who: str | None = None
) -> IngestResult:
    """Judges a refused file, or a batch's quarantined rows, again by today's rules; what became of them.

    With `mended`, that file is taken in instead, and what was held is closed. Rows already in silver stay. The record
    names `who`, by default the person at the keyboard.
    """
    from pipelines.ingestion.ingest import ingest

    _holds_something(batch)
    if mended is not None:
        return _replace(batch, mended, stores, why)
    _is_whole(batch, stores)
    if batch.state is BatchState.REFUSED:
        _can_return(batch, stores)
    stores.ledger.release(batch, who or person(), why)
    events.batches(stores, batch.dataset, [batch.digest])
    if batch.state is BatchState.REFUSED:
        bring_back(batch, stores)
    spec = dataset(batch.dataset)
    state = batch.state if batch.state.taken else BatchState.SEEN
    return ingest(spec, Batch(batch.digest, batch.dataset, batch.name, 0, state), stores)


def discard(batch: IngestResult, stores: Stores, why: str) -> None:
    """Closes what a batch holds for good, with who and why; its bytes are kept."""
    _holds_something(batch)
    stores.ledger.discard(batch, person(), why)
    events.batches(stores, batch.dataset, [batch.digest])


def _holds_something(batch: IngestResult) -> None:
    if batch.state is not BatchState.REFUSED and not batch.quarantined:
        raise EvergreenError(
            f"{batch.name} holds nothing back: it is {batch.state.value}, all rows in their place"
        )


def _is_whole(batch: IngestResult, stores: Stores) -> None:
    if Erasures(stores.settings).file(batch.digest) is not None:
        raise EvergreenError(
            f"rows of a person were erased from {batch.name}, so it cannot be judged again; put what is to come in of"
            " it into a file and name that with --mended"
        )


def _can_return(batch: IngestResult, stores: Stores) -> None:
    if not kept(batch, stores).exists():
        raise EvergreenError(
            f"the bytes of {batch.name} are gone from {kept(batch, stores)}; land the file again"
        )
    if (stores.settings.landing_path / batch.name).exists():
        raise EvergreenError(f"another {batch.name} waits in the landing folder; ingest that first")


def _replace(batch: IngestResult, mended: Path, stores: Stores, why: str) -> IngestResult:
    from pipelines.ingestion.ingest import ingest

    if not mended.is_file():
        raise EvergreenError(f"{mended} is no file; name the mended one")
    suffix = "".join(Path(batch.name).suffixes[:1]) if mended.suffix == ".csv" else mended.suffix
    target = stores.settings.landing_path / f"{batch.name.split('.')[0]}_mended_{batch.digest[:8]}{suffix}"
    beside = target.with_name(f".{target.name}.part")
    shutil.copyfile(mended, beside)
    sync(beside)
    digest = digest_of(beside)
    beside.rename(target)
    spec = dataset(batch.dataset)
    result = ingest(spec, Batch(digest, spec.name, target.name, target.stat().st_size), stores)
    stores.ledger.discard(batch, person(), f"mended in {digest[:12]} ({result.state.value}): {why}")
    events.batches(stores, batch.dataset, [batch.digest])
    return result
