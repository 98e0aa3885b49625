"""Windows in any order leave the newest value of each key online, and readers see whole materializations.

Random rows with late corrections land in a Delta table while random windows of it are brought online: shuffled,
repeated, overlapping, some by a process that is killed midway and then again in peace. After each window all
keys are held against a plain dictionary of the newest values, and meanwhile somebody keeps reading.

The promise is the online store's alone. Each writer and reader has a registry file of its own, as Feast's file
registry is emptied before it is written: who reloads a shared one just then is told that a view does not exist
(Feast 0.67). This proof says nothing of that.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.contracts import Say
from pipelines.prove import Proof
from pipelines.prove.forks import LEAKS
from pipelines.prove.servers import redis_missing, redis_server

PROMISE = "windows in any order, repeated or killed midway, leave each key's newest value online"
START = datetime(2024, 1, 1, tzinfo=UTC)
SPAN = 1000
"""Minutes in which things happen; what becomes known later does so within as long again."""
ROWS_A_KEY = 5
PARTS = 4
"""In so many pieces the rows land, while windows go on."""
SAMPLE = 100
"""Keys that are read over and over."""
Row = tuple[int, int, int, int]
"""Key, minute of the event, minute when it became known, value."""
State = dict[int, int]


def prove(keys: int, windows: int, seed: int, say: Say) -> Proof:
    """Brings so many windows of so many keys online in SQLite, and in Redis where a server is at hand."""
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    with TemporaryDirectory(prefix="evergreen-prove-", ignore_cleanup_errors=True) as folder:
        path = {"type": "pipelines.stores.online.store.SqliteOnlineStore", "path": "online.db"}
        _held(Campaign("SQLite", Path(folder, "sqlite"), path, keys, seed), windows, say, rows, failures)
        reason = redis_missing()
        if reason:
            rows.append({"store": "Redis", "windows": f"not tried: {reason}"})
            return Proof(PROMISE, rows, failures)
        with redis_server(Path(folder)) as address:
            kind = {
                "type": "pipelines.stores.online.redis_store.RedisOnlineStore",
                "connection_string": address,
            }
            _held(Campaign("Redis", Path(folder, "redis"), kind, keys, seed), windows, say, rows, failures)
    return Proof(PROMISE, rows, failures)


def _held(
    campaign: "Campaign", windows: int, say: Say, rows: list[dict[str, Any]], failures: list[str]
) -> None:
    rows.append(campaign.run(windows, say))
    failures += [f"{campaign.name}: {text}" for text in campaign.failures]


@dataclass
class Campaign:
    """One online store, the rows that land, and what should be online of them."""

    name: str
    folder: Path
    online: dict[str, Any]
    keys: int
    seed: int
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = Random(self.seed)  # noqa: S311 - it plays, it keeps no secret
        self._landed: list[Row] = []
        self._newest: dict[int, tuple[tuple[int, int], int]] = {}
        self._end = -1
        self._counts = {"windows": 0, "repeated": 0, "killed": 0, "not killed in time": 0}

    def run(self, windows: int, say: Say) -> dict[str, Any]:
        """Brings the windows online, each held against the newest values; what was tried and what broke."""
        self.folder.mkdir(parents=True)
        self._store = opened(self.folder, self.online, "writer")
        coming = self._rows()
        size = -(-len(coming) // PARTS)
        reader = Reader(self)
        reader.start()
        try:
            for number, window in enumerate(self._windows(windows)):
                if number * PARTS // windows * size >= len(self._landed):
                    self._land(coming[len(self._landed) : len(self._landed) + size])
                self._bring(window, reader)
                if (number + 1) % 25 == 0:
                    say(f"{self.name}: {number + 1} of {windows} windows; {len(self.failures)} failures")
        finally:
            reader.stop()
        if windows and not reader.reads:
            self.failures.append("nobody read meanwhile, so nothing is proven of readers")
        wrong = {"reads meanwhile": reader.reads, "broken": len(self.failures)}
        return {"store": self.name, "keys": self.keys, "rows": len(coming)} | self._counts | wrong

    def _rows(self) -> list[Row]:
        """Events, some corrected later under the same event time; no two alike in both times."""
        found: dict[tuple[int, int, int], int] = {}
        for value in range(self.keys * ROWS_A_KEY):
            key, event = self._rng.randrange(self.keys), self._rng.randrange(0, SPAN, 5)
            found.setdefault((key, event, event + self._rng.randrange(SPAN)), value)
        rows = [(*times, value) for times, value in found.items()]
        self._rng.shuffle(rows)
        return rows

    def _windows(self, count: int) -> Iterator[tuple[int, int]]:
        """Random windows; every third one is an earlier one again."""
        done: list[tuple[int, int]] = []
        for number in range(count):
            again = number % 3 == 2
            self._counts["repeated"] += again
            start, end = sorted(self._rng.randrange(SPAN) for _ in range(2))
            done.append(self._rng.choice(done) if again else (start, end))
            yield done[-1]

    def _land(self, rows: list[Row]) -> None:
        import pyarrow as pa
        from deltalake import write_deltalake

        keys, events, known, values = (list(column) for column in zip(*rows, strict=True))
        kind = pa.timestamp("us", "UTC")
        columns = {
            "k": pa.array(keys, pa.int64()),
            "happened": pa.array([_at(minute) for minute in events], kind),
            "known": pa.array([_at(minute) for minute in known], kind),
            "value": pa.array(values, pa.int64()),
            "mirror": pa.array([-value for value in values], pa.int64()),
        }
        write_deltalake(str(self.folder / "lake" / "v"), pa.table(columns), mode="append")
        self._landed += rows

    def _bring(self, window: tuple[int, int], reader: "Reader") -> None:
        """One window, in every fourth case after a process that was killed while it brought the same."""
        before = self._state()
        self._expect(window)
        reader.expect(self._state())
        self._counts["windows"] += 1
        if self._counts["windows"] % 4 == 0:
            self._kill(window, before)
        bring(self._store, window)
        self._end = max(self._end, window[1])
        self._compare(window, [self._state()], self._end)

    def _expect(self, window: tuple[int, int]) -> None:
        """The oracle: what landed in the window is now known online."""
        for key, event, known, value in self._landed:
            time = (event, known)
            if window[0] <= event <= window[1] and self._newest.get(key, ((-1, -1), 0))[0] < time:
                self._newest[key] = (time, value)

    def _state(self) -> State:
        return {key: value for key, (_, value) in self._newest.items()}

    def _kill(self, window: tuple[int, int], before: State) -> None:
        """A process that dies by its own hand or by the clock: it leaves the old or the new state, whole."""
        if LEAKS not in sys.warnoptions:
            sys.warnoptions.append(LEAKS)
        context = get_context("forkserver")
        context.set_forkserver_preload(["pipelines.prove.imported", __name__])
        batch, seconds = self._rng.randrange(1, 8), self._rng.choice([0.0, self._rng.random() / 2])
        arguments = (self.folder, self.online, window, max(1, self.keys // 10), batch, seconds)
        process = context.Process(target=_die, args=arguments, daemon=True)
        process.start()
        process.join()
        died = process.exitcode in (-signal.SIGKILL, -signal.SIGALRM)
        self._counts["killed" if died else "not killed in time"] += 1
        if not died and process.exitcode != 0:
            self.failures.append(f"window {window}: a process ended with {process.exitcode}")
        self._compare(window, [before, self._state()], None)

    def _compare(self, window: tuple[int, int], allowed: list[State], end: int | None) -> None:
        """All keys are in one of these states; in Redis, where keys change one by one, each key is."""
        found = answers(self._store, list(range(self.keys)))
        torn = [key for key, (value, mirror) in found.items() if value != -mirror]
        online = {key: value for key, (value, _) in found.items()}
        wrong = [k for k in range(self.keys) if online.get(k) not in {state.get(k) for state in allowed}]
        mixed = self.name == "SQLite" and online not in allowed
        reached = self._store._get_provider().online_store.materialized(
            self._store.config, self._store.get_feature_view("v")
        )
        late = end is not None and (reached is None or reached.as_of != _at(end))
        for text in (
            f"{len(torn)} keys have values of two rows" if torn else "",
            f"{len(wrong)} keys are wrong, such as {wrong[0]}" if wrong else "",
            "half a materialization is online" if mixed and not wrong else "",
            f"it says to have come to {reached}" if late else "",
        ):
            if text:
                self.failures.append(f"window {window}: {text}")


class Reader(threading.Thread):
    """Somebody who keeps reading, and never goes back to an earlier state nor sees half of one."""

    def __init__(self, campaign: Campaign) -> None:
        super().__init__(daemon=True)
        self.reads = 0
        self._campaign = campaign
        self._sample = list(range(0, campaign.keys, max(1, campaign.keys // SAMPLE)))
        self._states: list[State] = [{}]
        self._at = 0
        self._ended = threading.Event()
        self._store = opened(campaign.folder, campaign.online, "reader")

    def expect(self, state: State) -> None:
        """A state that may be online from now on."""
        self._states.append({key: state[key] for key in self._sample if key in state})

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                self._read()
            except Exception as error:
                self._campaign.failures.append(f"a reader failed: {type(error).__name__}: {error}")
                return

    def _read(self) -> None:
        found = answers(self._store, self._sample)
        self.reads += 1
        if any(value != -mirror for value, mirror in found.values()):
            self._campaign.failures.append("a reader saw values of two rows under one key")
        if self._campaign.name != "SQLite":
            return
        seen, states = {key: value for key, (value, _) in found.items()}, self._states[self._at :]
        if seen in states:
            self._at += states.index(seen)
        else:
            self._campaign.failures.append("a reader saw half a materialization")

    def stop(self) -> None:
        self._ended.set()
        self.join()


def _at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def opened(folder: Path, online: dict[str, Any], whose: str) -> Any:
    """Feast's own FeatureStore with one view and somebody's own registry."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource
    from feast.repo_config import RepoConfig
    from feast.types import Int64
    from feast.value_type import ValueType

    key = Entity(name="k", join_keys=["k"], value_type=ValueType.INT64)
    source = FileSource(name="v", path="v", timestamp_field="happened", created_timestamp_column="known")
    fields = [Field(name=name, dtype=Int64) for name in ("k", "value", "mirror")]
    view = FeatureView(name="v", entities=[key], ttl=timedelta(0), schema=fields, source=source)
    config = RepoConfig(
        project="p", provider="local", repo_path=folder, entity_key_serialization_version=3,
        registry={"path": str(folder / f"{whose}.registry"), "serve_features_while_materializing": True},
        offline_store={
            "type": "pipelines.stores.offline.DeltaOfflineStore", "lake": str(folder / "lake"),
        },
        batch_engine={"type": "pipelines.stores.online.materialization.BulkComputeEngine"}, online_store=online,
    )  # fmt: skip
    store = FeatureStore(config=config)
    store.apply([key, view])
    return store


def bring(store: Any, window: tuple[int, int]) -> None:
    """Materializes one window through Feast, quietly."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        store.materialize(_at(window[0]), _at(window[1]))


def answers(store: Any, keys: list[int]) -> dict[int, tuple[int, int]]:
    """What Feast answers for these keys: value and mirror of those that are there."""
    rows = [{"k": key} for key in keys]
    found = store.get_online_features(features=["v:value", "v:mirror"], entity_rows=rows).to_dict()
    pairs = zip(found["k"], found["value"], found["mirror"], strict=True)
    return {key: (value, mirror) for key, value, mirror in pairs if value is not None}


def _die(
    folder: Path, online: dict[str, Any], window: tuple[int, int], rows: int, batch: int, seconds: float
) -> None:
    """Materializes, and is killed after so many batches or seconds (if not 0)."""
    from pipelines.stores.online import batches

    batches.ROWS = rows
    store = opened(folder, online, f"killed{os.getpid()}")
    kept, told = store._get_provider().online_store, []
    write = kept.write_arrow

    def dying(config: Any, view: Any, table: Any, progress: Any, reached: Any) -> None:
        def tell(count: int) -> None:
            told.append(count)
            if len(told) == batch and not seconds:
                os.kill(os.getpid(), signal.SIGKILL)

        write(config, view, table, tell, reached)

    kept.write_arrow = dying
    signal.setitimer(signal.ITIMER_REAL, seconds)
    bring(store, window)
