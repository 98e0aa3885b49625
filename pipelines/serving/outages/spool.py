"""The prediction log while its database is gone: a file on this server's disk, from which it goes there later.

An answer is durable in one of the two before it leaves. Whoever was killed between writing and moving leaves a file
that the next server moves; an id that the database has already is not moved again.
"""

import fcntl
import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Protocol
from uuid import uuid4

from prometheus_client.core import GaugeMetricFamily

from pipelines.contracts import as_json
from pipelines.serving.causes import passed
from pipelines.serving.outages.deadline import Deadline
from pipelines.serving.sources import PredictionLog
from pipelines.stores.answers.predictions import Prediction, Truth
from pipelines.stores.durable import fsync

log = logging.getLogger("evergreen.serving")
NOTE = "the database does not take answers; they are logged on this server's disk until it does"
EVERY = 1.0
"""Seconds between two tries to move what waits."""
TIMES = ("asked_at", "event_time")


class Database(PredictionLog, Protocol):
    """A log that also takes what it may have already; all or none."""

    def record_missing(self, *predictions: Prediction) -> None: ...


class Spool(threading.Thread):
    """A prediction log that needs its database for reading alone, and moves what waits until stopped.

    A collector of Prometheus, too: it tells how much lies on this disk, whichever process laid it there.
    """

    def __init__(self, database: Database, folder: Path, seconds: float) -> None:
        super().__init__(name="spool", daemon=True)
        self._database, self._folder, self._deadline = database, folder, Deadline(seconds)
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._file: IO[bytes] | None = None
        self._own: dict[Path, int] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def waiting(self) -> int:
        """Answers that this server has logged and the database has not."""
        return sum(self._own.values())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauge of one scrape."""
        gauge = GaugeMetricFamily(
            "evergreen_spooled_bytes", "answers on this server's disk that the database has not taken"
        )
        gauge.add_metric([], sum(map(_size, self._folder.glob("*.jsonl"))))
        yield gauge

    def record(self, *predictions: Prediction) -> None:
        """Durable once this returns, all or none; on this disk if the database does not take them in time."""
        if not self._own:
            try:
                self._deadline.call(lambda: self._database.record(*predictions))
                return
            except Exception as error:
                log.error("the database of the prediction log does not take answers: %s", passed(error))
        self._write(predictions)

    def get(self, prediction_id: str) -> Prediction | None:
        return self._deadline.call(lambda: self._database.get(prediction_id))

    def tell(self, truth: Truth) -> None:
        self._deadline.call(lambda: self._database.tell(truth))

    def run(self) -> None:
        while not self._ended.wait(EVERY):
            self.move()

    def move(self) -> None:
        """Move every file to the database that no other server holds; what cannot be moved waits."""
        self._close()
        for path in sorted(self._folder.glob("*.jsonl")):
            try:
                self._moved(path)
            except FileNotFoundError:  # another process of this server has moved it
                continue
            except Exception as error:
                log.warning("answers wait on this disk for the database: %s", passed(error))
                break
        with self._lock:  # whoever moved them, they wait no more
            self._own = {path: count for path, count in self._own.items() if path.exists()}

    def stop(self) -> None:
        self._ended.set()
        self.join(timeout=5)
        if not self.is_alive():
            self.move()

    def _write(self, predictions: tuple[Prediction, ...]) -> None:
        lines = b"".join(json.dumps(as_json(each)).encode() + b"\n" for each in predictions)
        with self._lock:
            if self._file is None:
                self._file, self._path = self._opened()
            before = self._file.tell()
            try:
                self._file.write(lines)
                os.fsync(self._file.fileno())
            except OSError:  # answers that do not leave were not given
                with suppress(OSError):
                    os.ftruncate(self._file.fileno(), before)
                    self._file.close()
                self._file = None
                raise
            self._own[self._path] = self._own.get(self._path, 0) + len(predictions)

    def _opened(self) -> tuple[IO[bytes], Path]:
        """A new file, held by this process, whose name is on the disk.

        It has that name only once it is held: another process would move it, empty, and remove it with what follows.
        """
        path = self._folder / f"{uuid4()}.jsonl"
        file = path.with_suffix(".new").open("ab", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX)
        path.with_suffix(".new").rename(path)
        fsync(self._folder)
        return file, path

    def _close(self) -> None:
        """The next answer that waits begins a file of its own."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _moved(self, path: Path) -> None:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            found = list(_read(file))
            self._database.record_missing(*found)
            path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    """In bytes; 0 once it was moved."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read(file: IO[bytes]) -> Iterator[Prediction]:
    """The file's answers; a last line that was cut off had not been durable, so its answer never left."""
    for line in file:
        try:
            said: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        times = {name: said[name] and datetime.fromisoformat(said[name]) for name in TIMES}
        yield Prediction(**said | times)
