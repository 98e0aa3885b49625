"""CSV as it lands: the header held against the dataset, then blocks of records, typed or refused."""

import csv
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from pipelines.catalog import COLUMN_NAME, DatasetSpec
from pipelines.reading.records import Bad, Block, Hashed, Parsed, Refused, blocks
from pipelines.reading.values import Faults, rescued, typed
from pipelines.stores.tables import arrow_schema

MOST_COLUMNS = 1000
LONGEST_HEADER = 100_000
COLUMN = re.compile(COLUMN_NAME)
SOUND = rb'(?:"(?:[^"]++|"")*+"|[^",\r\n]*+)'
SOUND_RECORD = re.compile(SOUND + rb"(?:," + SOUND + rb")*+(?:\r?\n)?")


class Source:
    """One CSV file; its header is read and checked at once."""

    def __init__(self, raw: Hashed, name: str, spec: DatasetSpec) -> None:
        self.spec, self._raw = spec, raw
        self._records = blocks(raw, name, spec)
        first = next(self._records, None)
        if first is None:
            raise Refused("the file is empty: 0 bytes")
        self.names = _header(first, spec)
        self.labels = labels(self.names)
        self.extra = [i for i, name in enumerate(self.names) if name not in spec.columns]

    @property
    def note(self) -> str | None:
        """The columns the dataset does not know, and how to accept them."""
        absent = [name for name in self.spec.columns if name not in self.names]
        return unknown_columns(self.spec, [self.labels[i] for i in self.extra], absent)

    def digest(self) -> str:
        """SHA-256 of the bytes that were read, and of those that follow them."""
        return self._raw.digest()

    def blocks(self) -> Iterator[Block]:
        """The records below the header."""
        return self._records

    def raw(self, lines: np.ndarray[Any, Any]) -> Iterator[dict[int, bytes]]:
        """The bytes of the records that begin on these lines (ascending), a stretch of the file at a time."""
        for block in self._records:
            first, last = block.lines[[0, -1]] if len(block.lines) else (1, 0)
            near = lines[np.searchsorted(lines, first) : np.searchsorted(lines, last, "right")]
            found: Any = np.flatnonzero(np.isin(block.lines, near)) if len(near) else []
            if len(found):
                yield {int(block.lines[index]): block.raw(index) for index in found}

    def parse(self, block: Block) -> Parsed:
        """A block's rows: typed, or refused with the first rule they break."""
        block = self._without_blanks(block)
        if not len(block.starts):
            return Parsed(self._landed(arrow_schema(self.spec).empty_table(), [], block), [])
        faults = _unsound(block)
        sound = (
            np.setdiff1d(np.arange(len(block.starts)), list(faults))
            if faults
            else np.arange(len(block.starts))
        )
        texts, misfits = self._texts(block, sound)
        kept = np.setdiff1d(sound, list(misfits)) if misfits else sound
        if len(kept) != texts.num_rows:
            raise Refused(f"the records near line {block.lines[0]} do not add up: check their quotes")
        table, ill = typed(self.spec, self._ours(texts).append_column("_index", pa.array(kept)))
        faults |= misfits | ill
        others = [texts[str(i)].combine_chunks() for i in self.extra]
        if ill:
            picked = pa.array(np.searchsorted(kept, table["_index"].to_numpy()))
            others = [column.take(picked) for column in others]
        bad = [Bad(int(block.lines[i]), *faults[i], block.raw(i)) for i in sorted(faults)]
        unfinished = None if block.raw(-1).endswith(b"\n") else int(block.lines[-1])
        return Parsed(self._landed(table, others, block), bad, unfinished)

    def _ours(self, texts: pa.Table) -> pa.Table:
        """The dataset's columns; one that may be missing and is, is null."""
        places = {name: i for i, name in enumerate(self.names)}
        columns = [
            texts[str(places[name])] if name in places else pa.nulls(texts.num_rows, pa.string())
            for name in self.spec.columns
        ]
        return pa.Table.from_arrays(columns, list(self.spec.columns))

    def _landed(self, table: pa.Table, others: list[Any], block: Block) -> pa.Table:
        """Typed rows with the unknown columns as JSON and the line, as staging keeps them."""
        indexes = table["_index"].to_numpy() if table.num_rows else np.array([], np.int64)
        names = [self.labels[i] for i in self.extra]
        return (
            table.select(list(self.spec.columns))
            .append_column("_rescued", rescued(names if table.num_rows else [], others, table.num_rows))
            .append_column("_line", pa.array(block.lines[indexes], pa.int64()))
        )

    def _without_blanks(self, block: Block) -> Block:
        """Blank lines are no rows, except where one empty field is a row."""
        data, lengths = np.frombuffer(block.data, np.uint8), block.ends - block.starts
        first = data[block.starts]
        blank = np.flatnonzero(((lengths == 1) & (first == 10)) | ((lengths == 2) & (first == 13)))
        if len(self.names) < 2 or not len(blank):
            return block
        return Block(
            block.data, *(np.delete(part, blank) for part in (block.starts, block.ends, block.lines))
        )

    def _texts(self, block: Block, sound: np.ndarray[Any, Any]) -> tuple[pa.Table, Faults]:
        """All columns by position as texts, and the records with another number of fields."""
        data = block.data[block.starts[0] : block.ends[-1]]
        if len(sound) != len(block.starts) or len(data) != (block.ends - block.starts).sum():
            data = b"".join(block.raw(i) for i in sound)
        misfits = {}

        def skip(row: Any) -> str:
            why = f"{row.actual_columns} fields where the header has {row.expected_columns}"
            misfits[int(sound[row.number - 1])] = ("column count", why)
            return "skip"

        names = [str(i) for i in range(len(self.names))]
        if not data:
            return pa.table({name: pa.array([], pa.string()) for name in names}), misfits
        table = pacsv.read_csv(
            pa.BufferReader(data),
            pacsv.ReadOptions(use_threads=False, block_size=len(data), column_names=names),
            pacsv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=skip),
            pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=list(self.spec.null_values),
                strings_can_be_null=True,
                check_utf8=False,  # the block was decoded before it was cut
            ),
        )
        return _trimmed(table, self.spec) if self.spec.trim else table, misfits


def _trimmed(table: pa.Table, spec: DatasetSpec) -> pa.Table:
    """Texts without blanks around them; null where nothing else was there."""
    empty = pa.array(spec.null_values, pa.string())
    columns = [pc.utf8_trim(column, " \t") for column in table.columns]
    none = pa.scalar(None, pa.string())
    return pa.table(
        [pc.if_else(pc.is_in(text, empty), none, text) for text in columns], names=table.column_names
    )


def labels(names: list[str]) -> list[str]:
    """The names as keys of one JSON object: a missing one is told by its place, a second one by its number."""
    plain = [name or f"column {place}" for place, name in enumerate(names, 1)]
    times = [plain[:place].count(name) for place, name in enumerate(plain)]
    return [f"{name} ({n + 1})" if n else name for name, n in zip(plain, times, strict=True)]


def as_named(names: list[str], spec: DatasetSpec) -> list[str]:
    """A file's names as the columns': by header, without blanks and in any case where the dataset allows it."""
    if spec.trim:
        names = [name.strip(" \t") for name in names]
    called = {c.header: name for name, c in spec.columns.items() if c.header and name not in names}
    names = [called.get(name, name) for name in names]
    free = {name.lower(): name for name in spec.columns if name not in names} if spec.any_case else {}
    return [name if name in spec.columns else free.get(name.lower(), name) for name in names]


def unknown_columns(
    spec: DatasetSpec, names: list[str], absent: list[str], kinds: dict[str, str] | None = None
) -> str | None:
    """What to tell of columns that are not the dataset's.

    `absent` are those of the dataset that the file lacks; `kinds` has the types of new ones, if not any text's.
    """
    if not names:
        return None
    shown = ", ".join(repr(name[:80]) for name in names[:5]) + (" ..." if len(names) > 5 else "")
    known = {name.lower() for name in spec.columns}
    kinds = dict.fromkeys(names, "string") if kinds is None else kinds
    fit = [name for name in kinds if COLUMN.fullmatch(name) and name.lower() not in known]
    remedy = _alike(spec, absent, names) or (
        f"; `evergreen schema add {spec.name} {fit[0]} --type {kinds[fit[0]]}` would accept it" if fit else ""
    )
    return f"columns not in {spec.name}.yaml were kept as JSON in _rescued: {shown}{remedy}"


def _header(block: Block, spec: DatasetSpec) -> list[str]:
    raw = block.raw(0)
    reason = _foreign(raw) or _too_long(raw, spec)
    names = [] if reason else as_named(next(csv.reader([raw.decode().rstrip("\r\n")]), []), spec)
    reason = reason or _header_fault(raw.decode(), names, spec)
    if reason:
        raise Refused(reason)
    return names


def _foreign(raw: bytes) -> str | None:
    """What a first line is if it is no CSV header at all."""
    if b"\0" in raw:
        return "the header holds NUL bytes: not CSV"
    if raw.lstrip()[:1] in (b"{", b"["):
        return "the file is JSON, not CSV"
    if re.search(rb"\r(?!\n)", raw):
        return "lines end in a lone carriage return; they must end in LF or CRLF"
    return None


def _too_long(raw: bytes, spec: DatasetSpec) -> str | None:
    columns = raw.count(b",") + 1
    if columns > MOST_COLUMNS:
        return f"{columns} columns; a {spec.name} file has {len(spec.columns)}"
    return f"a header of {len(raw)} bytes" if len(raw) > LONGEST_HEADER else None


def _header_fault(text: str, names: list[str], spec: DatasetSpec) -> str | None:
    """What is wrong with the header, in one sentence; None if nothing is."""
    missing = [name for name in spec.required if name not in names]
    doubled = [name for name in spec.columns if names.count(name) > 1]
    if doubled:
        return f"column {doubled[0]!r} stands twice in the header"
    for mark in ";\t|":
        if missing and set(spec.required) <= set(
            as_named([p.strip('"') for p in text.strip().split(mark)], spec)
        ):
            return f"the delimiter is {mark!r}; it must be a comma"
    if len(missing) == len(spec.required) and not any(_is_ours(name, spec) for name in names):
        return f"no header: line 1 names none of {spec.name}'s columns"
    if missing:
        return missing_columns(spec, missing, [name for name in names if name not in spec.columns])
    return None


def missing_columns(spec: DatasetSpec, missing: list[str], extra: list[str]) -> str:
    """What to tell of a file without columns it must have."""
    also = f"; not known: {', '.join(map(repr, extra[:5]))}" if extra else ""
    told = f"required column missing: {', '.join(map(repr, missing[:5]))}{also}"
    there = {name.strip(" \t").lower() for name in extra}
    gone = [name for name in missing if name.lower() not in there]
    return told + _alike(spec, missing, extra) + (f"; {_without(spec, gone)}" if gone else "")


def _alike(spec: DatasetSpec, missing: list[str], extra: list[str]) -> str:
    """The settings that take names which differ from missing ones only in blanks or in case; empty if none does."""
    pairs = [(name, other) for name in missing for other in extra if _is(name, other)]
    blanks = any(other != other.strip(" \t") for _, other in pairs)
    case = any(other.strip(" \t") != name for name, other in pairs)
    trim = (
        f"; only in blanks differs {pairs[0][1]!r}: `trim: true` in {spec.name}.yaml drops them"
        if blanks
        else ""
    )
    return trim + (
        f"; only in case differs {pairs[0][1]!r}: `any_case: true` in {spec.name}.yaml takes any"
        if case
        else ""
    )


def _is(name: str, other: str) -> bool:
    return name != other and other.strip(" \t").lower() == name.lower()


def _is_ours(name: str, spec: DatasetSpec) -> bool:
    """Whether a name is a column's but for blanks and case."""
    return name.strip(" \t").lower() in {column.lower() for column in spec.columns}


def _without(spec: DatasetSpec, missing: list[str]) -> str:
    """The commands that accept files without these columns, if all of them can be done without."""
    needed = [name for name in missing if name in (*spec.key, spec.event_time, spec.available_at)]
    if needed:
        return f"{spec.name} cannot do without {needed[0]}: it is part of its key or one of its times"
    commands = [f"`evergreen schema deprecate {spec.name} {name}`" for name in missing]
    them = "them" if len(commands) > 1 else "it"
    return (
        f"{' and '.join(commands)} would accept files without {them},"
        f" unless expectations/{spec.name}.json needs {them}"
    )


def _unsound(block: Block) -> Faults:
    """Records with NUL, a stray quote or a stray carriage return, by index."""
    data = np.frombuffer(block.data, np.uint8)[block.starts[0] : block.ends[-1]]
    present = [mark for mark in (b'"', b"\0", b"\r") if mark in block.data]
    if not present:
        return {}
    suspect = np.isin(data, [mark[0] for mark in present])
    if b"\r" in present:
        suspect[:-1] &= ~((data[:-1] == 13) & (data[1:] == 10))
    positions = np.flatnonzero(suspect) + block.starts[0]
    found: Faults = {}
    for index in np.unique(np.searchsorted(block.ends, positions, side="right")):
        raw = block.raw(index)
        if b"\0" in raw:
            found[int(index)] = ("NUL byte", "a field holds a NUL byte")
        elif SOUND_RECORD.fullmatch(raw) is None:
            found[int(index)] = ("stray quote", "a quote or carriage return stands where none may")
    return found
