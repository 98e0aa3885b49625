"""`python -m pipelines.serving.probing.probe MODEL VERSION QUESTIONS OUT`: asks a version as serving would.

The version is loaded in this process, by serving's own code, before anybody is asked by it; it needs no licence. What
hangs is ended by the kernel, what eats memory gets no more: OUT.json says how far it came. With `--given` the
deployment's settings, the model's spec and the version as it is registered come as JSON on standard input, so that
MLflow need not be loaded.
"""

import json
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import catalog
from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError
from pipelines.processes import status
from pipelines.serving.metrics import Metrics
from pipelines.serving.predictor import Predictor
from pipelines.serving.probing.inherited import NOTHING, Inherited
from pipelines.serving.schemas import example
from pipelines.serving.served import Said, Served
from pipelines.serving.sources import OneByOne
from pipelines.settings import Settings, settings
from pipelines.stores import Stores
from pipelines.stores.audit.licences import Licence
from pipelines.stores.feature_store.online_values import Online
from pipelines.stores.tracking.registry import Version

if TYPE_CHECKING:
    import pandas as pd

MB = 1 << 20
AGAIN = 20
"""So many questions are asked a second time, in reverse order."""
RETIMED = 20
"""One question in so many, the slowest, is timed again."""
SLOWEST = 10
"""A question that takes so many times the limit of p99, and five seconds, is ended."""


@dataclass
class Seen:
    """What was seen; `phase` is what was being tried last.

    `answers` has one number per question, or one per class, None where serving cannot be asked it; `degraded` is the
    answer to the spec's example with every feature missing. `changed` counts questions that were answered otherwise the
    second time.
    """

    phase: str = "starting"
    load_seconds: float | None = None
    megabytes: float | None = None
    peak_mb: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    answers: list[Said | None] = field(default_factory=list)
    degraded: Said | None = None
    changed: int = 0
    again: int = 0
    errors: list[str] = field(default_factory=list)


class Rows(OneByOne):
    """A feature source that has the features of one row; None: it cannot be read."""

    def __init__(self, first: Mapping[str, Any]) -> None:
        self.now: Mapping[str, Any] | None = first

    def online(self, names: Sequence[str], entities: Mapping[str, Any], *_: Any) -> Online:
        if self.now is None:
            raise EvergreenError("no feature can be read now, on purpose")
        return Online({name: _plain(self.now.get(name)) for name in names}, {})

    def feature_names(self, spec: ModelSpec) -> list[str]:
        return [name for name in self.now or () if name not in {**spec.entities, **spec.request}]


@dataclass(frozen=True)
class Candidate:
    """A registry in which this version is champion, and needs no licence; its file is verified as any other."""

    version: Version
    stores: Stores

    def champion(self, model: str) -> Version:
        return self.version

    def licence(self, version: Version) -> Licence:
        return Licence(
            version.model, version.version, version.digest, "PROBE", "", "probe", datetime.now(UTC)
        )

    def fitted(self, version: Version) -> Any:
        return self.stores.tracking.fitted(version)


@dataclass
class Probe:
    """One version being asked; what is seen is written to `out` before each step, so that it outlives this process."""

    spec: ModelSpec
    rows: "pd.DataFrame"
    out: Path
    inherited: Inherited = NOTHING
    seen: Seen = field(default_factory=Seen)

    def run(self, found: Version, stores: Stores) -> None:
        """Load the version, ask it everything, and write down what was seen."""
        limits = self.spec.gate.serving
        records: list[dict[Any, Any]] = self.rows.to_dict("records")
        source = Rows(records[0] if records else {})
        predictor = Predictor(self.spec, Candidate(found, stores), source, Metrics())
        with self._phase("loading it", limits.load_seconds):
            begun = time.perf_counter()
            predictor.follow()
            self.seen.load_seconds = time.perf_counter() - begun + self.inherited.seconds
        self.seen.megabytes = stores.tracking.file(found).stat().st_size / MB
        if predictor.served is None:
            raise EvergreenError(predictor.detail or predictor.last_error or "it was not loaded")
        self._one_by_one(predictor, predictor.served, source, records)
        self._degraded(predictor, predictor.served, source)
        self.write("done")

    def _one_by_one(
        self, predictor: Predictor, served: Served, source: Rows, records: list[dict[Any, Any]]
    ) -> None:
        """Every row once, timed; then some again from the last to the first.

        The slowest are timed again and keep their best time: others may have had the machine just then.
        """
        asked = [self._timed(predictor, served, source, record) for record in records]
        self.seen.answers += [answer for answer, _ in asked]
        took = [milliseconds for _, milliseconds in asked]
        for number in sorted(range(len(took)), key=took.__getitem__)[-math.ceil(len(took) / RETIMED) :]:
            again = [self._timed(predictor, served, source, records[number])[1] for _ in range(2)]
            took[number] = min(took[number], *again)
        for number in reversed(range(min(AGAIN, len(records)))):
            before = self.seen.answers[number]
            if before is not None:
                self.seen.again += 1
                self.seen.changed += self._asked(predictor, served, source, records[number]) != before
        if took:
            ranked = sorted(took)
            self.seen.p50_ms, self.seen.p99_ms = (_quantile(ranked, share) for share in (0.5, 0.99))

    def _timed(
        self, predictor: Predictor, served: Served, source: Rows, record: Mapping[Any, Any]
    ) -> tuple[Said | None, float]:
        """An answer, and after how many milliseconds it was there."""
        begun = time.perf_counter()
        return self._asked(predictor, served, source, record), (time.perf_counter() - begun) * 1e3

    def _asked(
        self, predictor: Predictor, served: Served, source: Rows, record: Mapping[Any, Any]
    ) -> Said | None:
        """The answer to one held-out row; None if serving could not be asked it, or it was not answered."""
        source.now = record
        try:
            asked = predictor.request_model.model_validate(_body(self.spec, record))
        except ValueError:
            return None
        return self._answer(predictor, served, asked)

    def _answer(self, predictor: Predictor, served: Served, asked: Any) -> Said | None:
        limit = max(5.0, SLOWEST * self.spec.gate.serving.p99_ms / 1e3)
        with _at_most(limit):
            try:
                return predictor.ask(served, asked)
            except EvergreenError as error:
                self.seen.errors.append(_first_line(error.__cause__ or error))
                return None

    def _degraded(self, predictor: Predictor, served: Served, source: Rows) -> None:
        with self._phase("answering with every feature missing", None):
            source.now = None
            asked = predictor.request_model.model_validate(example(self.spec))
            self.seen.degraded = self._answer(predictor, served, asked)

    @contextmanager
    def _phase(self, name: str, seconds: float | None) -> Iterator[None]:
        self.write(name)
        with _at_most(seconds or 0):
            yield
        self.write("asking it")

    def write(self, phase: str) -> None:
        """What was seen until now, whole."""
        self.seen.phase, self.seen.peak_mb = phase, self.inherited.peak() / 1024
        part = self.out.with_suffix(".part")
        part.write_text(json.dumps(asdict(self.seen)))
        part.replace(self.out)


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Ends this process after so long, whatever it is doing; 0 leaves it in peace."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _quantile(ranked: Sequence[float], share: float) -> float:
    """The smallest value that so large a share does not exceed."""
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def _body(spec: ModelSpec, record: Mapping[Any, Any]) -> dict[str, Any]:
    """A held-out row as the JSON that asks for it."""
    groups = {"entities": spec.entities, "request": spec.request}
    return {
        group: {name: _sent(_plain(record.get(name))) for name in fields} for group, fields in groups.items()
    }


def _sent(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _plain(value: Any) -> Any:
    """A cell as plain Python; missing is None."""
    import pandas as pd

    if value is None or bool(pd.isna(value)):
        return None
    return value.item() if hasattr(value, "item") else value


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:300]


def _bounded(memory_mb: float, inherited: Inherited) -> None:
    """From here on this process gets so much more memory, leaves no core, and starts nothing that outlives it."""
    most = (status("VmData") - inherited.data) * 1024 + int(memory_mb * MB)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _given(model: str, number: int) -> tuple[ModelSpec, Stores, Version]:
    """What is asked, and of which deployment: from standard input if the caller says so."""
    if "--given" not in sys.argv:
        stores = Stores(settings())
        return catalog.model(model), stores, stores.tracking.version(model, number)
    given = json.load(sys.stdin)
    version = Version(**given["version"] | {"as_of": datetime.fromisoformat(given["version"]["as_of"])})
    stores = Stores(Settings(_env_file=None, **given["settings"]))  # type: ignore[call-arg]
    return ModelSpec.model_validate(given["spec"]), stores, version


def main(inherited: Inherited = NOTHING) -> int:
    """0 when all was asked, whatever was answered; 1 with the reason when it could not be loaded."""
    import pandas as pd

    model, version, questions, out = (word for word in sys.argv[1:] if word != "--given")
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    try:
        spec, stores, found = _given(model, int(version))
    except (ValueError, EvergreenError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    probe = Probe(spec, pd.read_parquet(questions), Path(out), inherited)
    probe.write("starting")
    _bounded(spec.gate.serving.memory_mb, inherited)
    try:
        probe.run(found, stores)
    except Exception as error:
        probe.seen.errors.insert(0, _first_line(error))
        probe.write(probe.seen.phase)
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
