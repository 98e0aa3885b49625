"""Changes a dataset's columns on purpose: its yaml says so with a new version, silver follows, old rows stay."""

from pathlib import Path
from typing import Any

import yaml

from pipelines.catalog import HERE, Column, DatasetSpec, read_spec
from pipelines.contracts import EvergreenError
from pipelines.places import whole
from pipelines.stores import Stores

WIDER = {"integer": ("float", "string"), "float": ("string",), "timestamp": ("string",), "string": ()}


def add(
    spec: DatasetSpec, name: str, kind: str, description: str, folder: Path = HERE / "datasets"
) -> DatasetSpec:
    """Adds a column that older files lack: nullable, since the next version."""
    if name in spec.columns:
        raise EvergreenError(
            f"{spec.name} has a column {name!r} already; `evergreen schema show {spec.name}`"
        )
    column = {"type": kind, "nullable": True, "since": spec.version + 1, "description": description}
    return _edit(spec, name, column, folder)


def widen(spec: DatasetSpec, name: str, kind: str, folder: Path = HERE / "datasets") -> DatasetSpec:
    """Makes a column's type a wider one that holds every value it has."""
    column = _column(spec, name)
    if kind not in WIDER[column.type]:
        wider = " or ".join(WIDER[column.type]) or "nothing wider"
        raise EvergreenError(f"{spec.name}.{name} is {column.type} and can become {wider}, not {kind}")
    if name in (spec.event_time, spec.available_at):
        raise EvergreenError(f"{spec.name}.{name} is a time the dataset needs; it cannot become {kind}")
    kept = {key: value for key, value in _plain(column).items() if key not in ("timezone", "nanoseconds")}
    return _edit(spec, name, kept | {"type": kind}, folder)


def deprecate(spec: DatasetSpec, name: str, folder: Path = HERE / "datasets") -> DatasetSpec:
    """Lets files leave a column out; silver keeps it, null where it is missing."""
    column = _column(spec, name)
    if name in (*spec.key, spec.event_time, spec.available_at):
        raise EvergreenError(
            f"{spec.name} cannot do without {name}: it is part of its key or one of its times"
        )
    return _edit(spec, name, _plain(column) | {"nullable": True, "deprecated": spec.version + 1}, folder)


def apply(spec: DatasetSpec, stores: Stores) -> None:
    """Brings silver to the dataset's columns; EvergreenError if values would be lost or no version was raised."""
    columns = {name: [column.type, column.nullable, column.optional] for name, column in spec.columns.items()}
    known = stores.ledger.schema(spec.name)
    if known is not None and known.columns != columns and spec.version <= known.version:
        raise EvergreenError(
            f"the columns in {spec.name}.yaml changed, but version is still {spec.version};"
            f" set version: {known.version + 1}, or take the change back"
        )
    if known is None or known.version < spec.version:
        stores.tables.evolve(spec)
        stores.ledger.adopt(spec.name, spec.version, columns)


def _column(spec: DatasetSpec, name: str) -> Column:
    if name not in spec.columns:
        raise EvergreenError(f"{spec.name} has no column {name!r}; it has {', '.join(spec.columns)}")
    return spec.columns[name]


def _plain(column: Column) -> dict[str, Any]:
    return column.model_dump(exclude_defaults=True)


def _edit(spec: DatasetSpec, name: str, column: dict[str, Any], folder: Path) -> DatasetSpec:
    """Writes one column and the next version into the yaml, the rest of its text untouched."""
    path = folder / f"{spec.name}.yaml"
    text = path.read_text()
    if spec.version == 1 and "version" not in (yaml.safe_load(text) or {}):
        text = text.replace("\n", "\nversion: 1\n", 1)
    written = yaml.safe_dump(column, default_flow_style=True, width=10_000, sort_keys=False).strip()
    for place, value in ((("columns", name), written), (("version",), str(spec.version + 1))):
        text = _put(text, place, value)
    with whole(path) as part:
        part.write_text(text)
        return read_spec(part, DatasetSpec)


def _put(text: str, place: tuple[str, ...], value: str) -> str:
    """The YAML text with a value replaced, or added at the end of its mapping."""
    node: Any = yaml.compose(text)
    for depth, key in enumerate(place):
        found = [(k, v) for k, v in node.value if k.value == key]
        if not found:
            last_key, last = node.value[-1]
            indent = " " * last_key.start_mark.column
            end = text[: last.end_mark.index].rstrip()
            return f"{end}\n{indent}{place[depth]}: {value}\n{text[last.end_mark.index :].lstrip()}"
        node = found[0][1]
    return text[: node.start_mark.index] + value + text[node.end_mark.index :]
