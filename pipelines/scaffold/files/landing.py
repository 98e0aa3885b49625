"""The person's rows as a file that the new dataset takes: names, zones, and what had to be added."""

from pathlib import Path

from pipelines.contracts import EvergreenError
from pipelines.scaffold.data.answers import literal
from pipelines.scaffold.data.sizes import MADE_DAYS
from pipelines.scaffold.data.sources import Source
from pipelines.scaffold.design import MADE, ROW, Design

SEED = "evergreen"
SAMPLED = 200


def rows(design: Design) -> str:
    """SQL of the rows as they land."""
    added = []
    if ROW in design.added:
        added.append(f"'r' || lpad(cast(place as varchar), 9, '0') as {ROW}")
    if MADE in design.added:
        start = design.span[0].timestamp()
        moment = f"to_timestamp(floor({start} + (turn + 1) * {MADE_DAYS * 86_400.0} / {design.rows + 1}))"
        added.append(f"{moment} as {MADE}")
    own = [f"{_value(column.facts.place, column.kind, design)} as {column.name}" for column in design.columns]
    turn = (
        f"(row_number() over (order by md5('{SEED}' || rowid)) - 1) as turn, " if MADE in design.added else ""
    )
    order = MADE if MADE in design.added else design.time
    return f"select {', '.join([*added, *own])} from (select *, rowid as place, {turn}true from typed) order by {order}"


def _value(place: str, kind: str, design: Design) -> str:
    if design.clock and place == design.clock.facts.place:
        return design.clock.sql
    return f"cast({place} as double)" if kind == "float" else place


def write(design: Design, source: Source, folder: Path) -> Path:
    """The whole data as one Parquet file in the landing folder, there at once or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{design.name}_{design.span[1]:%Y%m%dT%H%M%S}.parquet"
    if path.exists():
        raise EvergreenError(f"{path} is there already; move it away, or ingest it first")
    part = path.with_name(f".{path.name}.part")
    _copy(source, rows(design), part)
    part.replace(path)
    return path


def sample(design: Design, source: Source, path: Path) -> None:
    """A few labelled rows, of each answer where there are two or some more."""
    label = design.label.name
    kinds = len(design.answer.classes) or (2 if design.answer.positive is not None else 1)
    by = f"partition by {design.answer.sql(label)} " if kinds > 1 else ""
    order = f"order by hash({', '.join(design.row_key)})"
    counted = (
        f"select *, row_number() over ({by}{order}) as nth from ({rows(design)}) where {label} is not null"
    )
    some = f"select * exclude nth from ({counted}) where nth <= {SAMPLED // kinds}"
    _copy(source, f"{some} order by {design.time}", path)


def _copy(source: Source, query: str, path: Path) -> None:
    source.connection.execute(f"copy ({query}) to {literal(str(path))} (format parquet, compression zstd)")
