"""Homes in which time passes: real rows land when they become known, with corrections and late rows among them."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import count
from pathlib import Path

import duckdb

from pipelines.catalog import DatasetSpec, ModelSpec, dataset
from pipelines.contracts import EvergreenError
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.loop.replay import land
from pipelines.scaffold.trial import landed
from pipelines.settings import PROJECT, Settings, settings
from pipelines.stores import Stores
from pipelines.upstream import Story, connect, story

STEP = timedelta(seconds=1)
"""The upstream systems' times are whole seconds."""


class Sandbox(Settings):
    """The settings of a deployment of its own; `repo` is its feature repository.

    Its suites have no rules against history: files that are cut anywhere have no usual size. Its features have none at
    all: what is proven of them is their time, not their quality.
    """

    repo: Path = PROJECT / "feature_repo"

    @property
    def expectations(self) -> Path:
        return self.home / "expectations"

    @property
    def feature_repo(self) -> Path:
        return self.repo


def sandbox(home: Path, repo: Path = PROJECT / "feature_repo") -> Stores:
    """The stores of a deployment in this folder, whatever the environment says."""
    for path in (PROJECT / "expectations").glob("*.json"):
        _timeless(path, home / "expectations" / path.name)
    return Stores(
        Sandbox(_env_file=None, home=home, repo=repo, landing=None, lake=None, database_url=None,  # type: ignore[call-arg]
                tracking_uri=None, artifact_root=None, online_store="sqlite")
    )  # fmt: skip


def _timeless(suite: Path, to: Path) -> None:
    """A suite without the rules whose bounds come from history."""
    kept = json.loads(suite.read_text())
    kept["expectations"] = [rule for rule in kept["expectations"] if "$PARAMETER" not in json.dumps(rule)]
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(kept))


@dataclass(frozen=True)
class Planted:
    """How many rows were made beside the real ones."""

    corrections: int
    late: int


class Upstream:
    """The systems that files come from: their rows from `begin` to `end`, and those that were planted."""

    def __init__(self, spec: ModelSpec) -> None:
        self.datasets = [dataset(name) for name in dict.fromkeys([*spec.datasets, spec.label.dataset])]
        own = [each for each in self.datasets if each.upstream is None]
        self.connection = connect(each.name for each in self.datasets if each not in own)
        for each in own:
            _landed(each, spec, self.connection)
        label = dataset(spec.label.dataset)
        days = _days(label, self.connection) if label in own else story(spec)
        self.begin, self.end = (datetime.combine(day, time(), UTC) for day in (days.begin, days.end))

    def plant(self, start: datetime, end: datetime, share: float, seed: int) -> Planted:
        """Adds rows that correct others hours or days later, and rows that become known days late.

        One thread: several would draw the same numbers for other rows each time, and a seed would not tell them again.
        """
        self.connection.execute("set threads = 1")
        self.connection.execute("select setseed(?)", [(seed % 1000) / 1000])
        moving = [spec for spec in self.datasets if not spec.reference]
        for spec in moving:
            self.connection.execute(f"create or replace table {planted(spec)} as from {spec.name} limit 0")
        late = sum(self._delay(spec, start, end, share) for spec in moving)
        made = Planted(sum(self._correct(spec, start, end, share) for spec in moving), late)
        self.connection.execute("reset threads")
        return made

    def _correct(self, spec: DatasetSpec, start: datetime, end: datetime, share: float) -> int:
        """The same keys once more, known 1 minute to 4 days later, most soon, with the numbers of other rows."""
        fixed = {*spec.key, spec.event_time, spec.available_at}
        numbers = [n for n, c in spec.columns.items() if c.type in ("integer", "float") and n not in fixed]
        mixed = ", ".join(f'coalesce(lead("{n}") over (order by random()), "{n}") as "{n}"' for n in numbers)
        later = f'"{spec.available_at}" + to_minutes(cast(pow(5760, random()) as bigint)) as "{spec.available_at}"'
        return self._insert(spec, f"* replace ({mixed}{', ' if mixed else ''}{later})", start, end, share)

    def _delay(self, spec: DatasetSpec, start: datetime, end: datetime, share: float) -> int:
        """Rows that become known 1 to 6 days after they really did."""
        known = f'"{spec.available_at}"'
        changed = self.connection.execute(
            f"update {spec.name} set {known} = {known} + to_minutes(cast(1440 + random() * 7200 as bigint))"
            f" where {known} >= ? and {known} < ? and random() < ?",
            [start, end, share],
        ).fetchone()
        return int(changed[0]) if changed else 0

    def _insert(self, spec: DatasetSpec, columns: str, start: datetime, end: datetime, share: float) -> int:
        known = f'"{spec.available_at}"'
        added = self.connection.execute(
            f"insert into {planted(spec)} select {columns} from (from {spec.name} where {known} >= ? and {known} < ?"
            " and random() < ? order by all)",
            [start, end, share],
        ).fetchone()
        return int(added[0]) if added else 0


def _landed(spec: DatasetSpec, model: ModelSpec, connection: duckdb.DuckDBPyConnection) -> None:
    """A dataset that nobody plays: the rows that its owner has landed, or the model's sample."""
    here = settings()
    files, kind = landed(spec, model, (here.landing_path, here.home / "archive"))
    if kind != "parquet":
        raise EvergreenError(f"{spec.name}: its files are {kind}, which say no types; a proof takes Parquet")
    columns = ", ".join(f'"{name}"' for name in spec.columns)
    connection.execute(
        f"create table {spec.name} as select distinct {columns} from read_parquet(?, union_by_name = true)",
        [[str(file) for file in files]],
    )


def _days(spec: DatasetSpec, connection: duckdb.DuckDBPyConnection) -> Story:
    """From when to when its rows became known."""
    ends = f'min("{spec.available_at}"), max("{spec.available_at}")'
    first, last = connection.execute(f"select {ends} from {spec.name}").fetchone() or (None, None)
    if first is None or last is None:
        raise EvergreenError(f"{spec.name}: no row has landed; land its files first")
    return Story(first.date(), first.date(), last.date() + timedelta(days=1))


def planted(spec: DatasetSpec) -> str:
    """The table of the rows that were made beside a dataset's real ones; they land in files of their own."""
    return f"planted_{spec.name}"


def _has(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    found = connection.execute("select 1 from duckdb_tables() where table_name = ?", [table]).fetchone()
    return found is not None


class World:
    """One deployment that takes files in as time passes."""

    def __init__(self, source: Upstream, stores: Stores) -> None:
        self.source, self.stores = source, stores
        self._reached, self._numbers = source.begin, count()

    def live(self, until: datetime) -> None:
        """Lands what became known up to the moment, the moment included, and ingests it."""
        first, stop = self._reached == self.source.begin, until + STEP
        for spec in self.source.datasets:
            if first or not spec.reference:
                self._land(spec, spec.name, stop)
            if _has(self.source.connection, planted(spec)):
                self._land(spec, planted(spec), stop)
        self._reached = stop

    def _land(self, spec: DatasetSpec, table: str, stop: datetime) -> None:
        path = self.stores.settings.landing_path / f"{spec.name}_{next(self._numbers):06d}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        if land(self.source.connection, spec.name, self._reached, stop, path, table):
            refused = [r for r in ingest_dataset(spec, self.stores) if not r.state.taken]
            if refused:
                raise EvergreenError(f"{spec.name}: a replayed file was refused: {refused[0].reason}")
