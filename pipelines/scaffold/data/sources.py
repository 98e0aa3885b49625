"""What a person brings: a CSV or Parquet file, or a folder of them, as one table of text or typed columns.

Nothing that the file says, its name and headers included, ever becomes part of a statement: columns are c0, c1, ... and
files are read through links with names of our own.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.contracts import EvergreenError

if TYPE_CHECKING:
    import duckdb

TEXT, COLUMNAR = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz"), (".parquet", ".pq")
MOST_COLUMNS = 400


@dataclass(frozen=True)
class Source:
    """A table `given` with columns c0, c1, ...: the headers as written, and whether the values are still text."""

    connection: "duckdb.DuckDBPyConnection"
    headers: tuple[str, ...]
    is_text: bool
    files: int
    notes: tuple[str, ...] = ()

    def one(self, sql: str, *values: Any) -> Any:
        """The first value of a query's first row."""
        found = self.connection.execute(sql, list(values)).fetchone()
        return found[0] if found else None


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """The rows of a file, or of every data file in a folder; EvergreenError says what cannot be read, and why."""
    import duckdb

    files = _files(path)
    with duckdb.connect() as connection, tempfile.TemporaryDirectory() as links:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET preserve_insertion_order = true")
        try:
            yield _read(connection, files, Path(links))
        except duckdb.Error as error:
            said = str(error).splitlines()[0][:300]
            raise EvergreenError(
                f"{path} cannot be read as a table: {said}; write it as CSV with a header line, or as Parquet"
            ) from error


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if each.is_file() and _suffix(each))
        if not found:
            raise EvergreenError(
                f"no .csv or .parquet file lies in {path}; name a folder that holds the data"
            )
    elif path.is_file():
        found = [path]
    else:
        raise EvergreenError(f"there is no file or folder {path}; name your data with --from")
    kinds = {_suffix(each) in COLUMNAR for each in found}
    if not _suffix(found[0]):
        raise EvergreenError(
            f"{path.name!r} is neither .csv, .csv.gz, .tsv nor .parquet; save the table as one of them"
        )
    if len(kinds) > 1:
        raise EvergreenError(
            f"{path} holds both CSV and Parquet files; put those that belong together into a folder"
        )
    return found


def _suffix(path: Path) -> str:
    return next((end for end in (*TEXT, *COLUMNAR) if path.name.lower().endswith(end)), "")


def _read(connection: "duckdb.DuckDBPyConnection", files: list[Path], links: Path) -> Source:
    columnar = _suffix(files[0]) in COLUMNAR
    linked = []
    for number, file in enumerate(files):
        linked.append(links / f"{number:05d}{_suffix(file)}")
        linked[-1].symlink_to(file.resolve())
    headers = _same_headers(connection, linked, files, columnar)
    notes = _load(connection, linked, headers, columnar)
    if not connection.execute("select 1 from given limit 1").fetchone():
        raise EvergreenError(f"{files[0].name!r} has no rows; a model learns from at least a hundred")
    return Source(connection, tuple(headers), not columnar, len(files), tuple(notes))


def _same_headers(
    connection: "duckdb.DuckDBPyConnection", linked: list[Path], files: list[Path], columnar: bool
) -> list[str]:
    """The headers of all files, which must be the same and in the same order."""
    first: list[str] = []
    for link, file in zip(linked, files, strict=True):
        found = _headers(connection, link, columnar)
        first = first or found
        if found != first:
            other = sorted(set(found) ^ set(first)) or found
            raise EvergreenError(
                f"{file.name!r} has other columns than {files[0].name!r} ({', '.join(map(repr, other[:5]))}); give all"
                " files the same columns in the same order"
            )
    if len(first) < 2 or len(first) > MOST_COLUMNS:
        raise EvergreenError(
            f"{files[0].name!r} has {len(first)} columns; a model needs 2 to {MOST_COLUMNS}: what is to be told, and"
            " what it is told from (in a CSV, separated by , ; | or tabs)"
        )
    numbers = [name for name in first if _is_number(name)]
    if not columnar and len(numbers) > len(first) / 2:
        raise EvergreenError(
            f"the first line of {files[0].name!r} looks like data ({', '.join(first[:4])}); write a line with the"
            " columns' names before it"
        )
    return first


def _headers(connection: "duckdb.DuckDBPyConnection", link: Path, columnar: bool) -> list[str]:
    scan = "read_parquet(?)" if columnar else f"read_csv(?, {_options('utf-8')}, ignore_errors = true)"
    rows = connection.execute(f"describe select * from {scan}", [str(link)]).fetchall()
    return [str(row[0]) for row in rows]


def _options(encoding: str) -> str:
    return f"all_varchar = true, header = true, sample_size = 20000, encoding = '{encoding}', nullstr = ''"


def _load(
    connection: "duckdb.DuckDBPyConnection", linked: list[Path], headers: list[str], columnar: bool
) -> list[str]:
    """Makes the table `given`; what a person should know of how it was read."""
    import duckdb

    names = ", ".join(f"c{number}" for number in range(len(headers)))
    paths = [str(link) for link in linked]
    if columnar:
        connection.execute(f"create table given as select * from read_parquet(?) as t({names})", [paths])
        return []
    for encoding in ("utf-8", "latin-1"):
        try:
            connection.execute(
                f"create table given as select * from read_csv(?, {_options(encoding)}) as t({names})",
                [paths],
            )
        except duckdb.Error as error:
            if encoding == "latin-1" or "utf" not in str(error).lower():
                raise
            continue
        return [] if encoding == "utf-8" else ["the text is not UTF-8 and was read as Latin-1"]
    return []


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
