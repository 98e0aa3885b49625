"""Strict reading of a landed file into staging: typed rows with their line, and the rows that are not sound."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.catalog import DatasetSpec
from pipelines.reading import delimited, parquet
from pipelines.reading.records import Bad, Hashed, Parsed, Refused, Unsettled, open_regular
from pipelines.reading.remedies import command
from pipelines.reading.staging import BAD, BAD_SCHEMA, Staging

SMALL = 20
"""A file with fewer rows is refused for its bad rows only if all of them are bad."""
HOPELESS = 100_000
"""After so many bad rows, and more bad than good, nobody reads on."""
RAWS = "raws"
AHEAD = 3
"""Blocks being parsed at once: they bound the memory."""


@dataclass(frozen=True)
class Reading:
    """What was read: how many rows, the digest of exactly those bytes, and what a person should know."""

    parsed: int
    digest: str
    note: str | None = None


def read(
    path: Path, spec: DatasetSpec, staging: Staging, alive: Callable[[], None] = lambda: None
) -> Reading:
    """Brings a file's rows (CSV, CSV.gz or Parquet) into staging; Refused if it cannot be trusted.

    `alive` is called now and then. Memory does not grow with the file.
    """
    with open_regular(path) as file:
        source = _source(Hashed(file), path, spec)
        parsed, bad, last = 0, 0, None
        for last in _parsed(source):
            staging.land(last.table)
            if last.bad:
                staging.gather(BAD, bad_table(last.bad))
            parsed, bad = parsed + last.rows, bad + len(last.bad)
            if bad > HOPELESS and bad > parsed / 2 and bad > spec.max_bad_share * parsed:
                staging.put_in(BAD)
                refuse_if_too_many(spec, staging, parsed)
            alive()
        staging.put_in(BAD)
        staging.seal()
        if last and last.bad and last.bad[-1].line == last.unfinished:
            raise Refused(f"cut off in its last row, line {last.unfinished}: {last.bad[-1].reason}")
        refuse_if_too_many(spec, staging, parsed)
        return Reading(parsed, source.digest(), source.note)


def _parsed(source: Any) -> Iterator[Parsed]:
    """The file's blocks in order, parsed a few at a time on all cores."""
    with ThreadPoolExecutor(AHEAD - 1) as pool:
        waiting: deque[Any] = deque()
        try:
            for block in source.blocks():
                waiting.append(pool.submit(source.parse, block))
                if len(waiting) >= AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def add_raw_lines(path: Path, spec: DatasetSpec, staging: Staging, digest: str) -> None:
    """Gives the bad rows in staging that lack them their bytes, from a second look at the file."""
    lines = staging.connection.execute(f"SELECT line FROM {BAD} WHERE raw IS NULL ORDER BY line").fetchnumpy()
    if not len(lines["line"]):
        return
    with open_regular(path) as file:
        source = _source(Hashed(file), path, spec)
        for found in source.raw(np.asarray(lines["line"])):
            content = pa.array(list(found.values()), pa.binary())
            staging.gather(RAWS, pa.table({"begins": list(found), "content": content}))
        if source.digest() != digest:
            raise Unsettled(f"{path.name} changed while it was read; it will be looked at again")
    staging.put_in(RAWS)
    staging.execute(f"UPDATE {BAD} SET raw = content FROM {RAWS} WHERE line = begins AND raw IS NULL")


def _source(raw: Hashed, path: Path, spec: DatasetSpec) -> Any:
    """What reads this kind of file: anything with blocks(), parse(block), raw(lines) and note."""
    if path.suffix.lower() == ".parquet":
        return parquet.Source(raw, spec)
    return delimited.Source(raw, path.name, spec)


def bad_table(rows: list[Bad]) -> pa.Table:
    """Refused rows as staging keeps them."""
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, BAD_SCHEMA.types, strict=True)]
    return pa.Table.from_arrays(arrays, schema=BAD_SCHEMA)


def refuse_if_too_many(spec: DatasetSpec, staging: Staging, parsed: int) -> None:
    """Raises Refused if the share of bad rows is above the dataset's limit."""
    bad = staging.count(BAD)
    if not bad or bad / parsed <= spec.max_bad_share or (parsed < SMALL and bad < parsed):
        return
    rule, count, line, reason = staging.connection.execute(
        f"SELECT rule, count(*), min(line), arg_min(reason, line) FROM {BAD} GROUP BY rule"
        " ORDER BY count(*) DESC, rule LIMIT 1"
    ).fetchone() or ("", 0, 0, "")
    raise Refused(
        f"{bad} of {parsed} rows are bad, {count} by rule {rule!r}; for example line {line}: {reason}"
        + command(spec, rule, reason)
    )
