"""Serving answers with the features that the offline store gives for the same entity and moment."""

import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec, dataset, event_time, model
from pipelines.contracts import EvergreenError, Say
from pipelines.features import compute
from pipelines.features.parity import ViewParity, parity
from pipelines.features.silver import connect
from pipelines.prove import Proof
from pipelines.prove.ingestion import scratch
from pipelines.prove.worlds import Upstream, World, sandbox
from pipelines.serving.schemas import example
from pipelines.serving.served import UNREAD
from pipelines.serving.sources import OneByOne
from pipelines.stores import Stores
from pipelines.stores.answers.predictions import Prediction
from pipelines.stores.audit.licences import Licence

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

PROMISE = "What serving looked up is what the offline store says of the same entity and moment"
SHARE = 0.002
CANARIES = 15
"""So many questions are asked through a store with a planted skew, of each kind."""
UNSEEN = 0.05
"""The share of questions about an entity that never was."""
AHEAD = (-86_400, -3600, 0, 60, 1800, 7200, 21_600, 86_400, 864_000)
"""How many seconds after what is known a prediction is due."""
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def prove(name: str, lookups: int, steps: int, seed: int, say: Say) -> Proof:
    """A deployment lives; between its computations questions are asked and logged as serving does it.

    Then every logged feature is recomputed offline. A second serving, skewed on purpose, must be found out.
    """
    with scratch() as home:
        return held(lived(model(name), home, lookups, steps, seed, say), lookups, seed, say)


@dataclass(frozen=True)
class Life:
    """A deployment that lived until a moment, and the predictions that it logged meanwhile."""

    spec: ModelSpec
    stores: Stores
    until: datetime
    log: list[Prediction]


def lived(spec: ModelSpec, home: Path, lookups: int, steps: int, seed: int, say: Say) -> Life:
    """Real rows land, with corrections and late ones among them, and questions are asked in so many steps."""
    world = World(Upstream(spec), sandbox(home))
    begin = world.source.begin
    end = min(world.source.end, begin + timedelta(days=max(4, steps // 4)))
    world.source.plant(begin, end, SHARE, seed)
    names = world.stores.features.feature_names(spec)
    views = len({feature.split("__")[0] for feature in names})
    moments = _steps(begin, end, steps, seed)
    log = _asked(spec, world, moments, -(-lookups // (views * steps)), seed, say)
    return Life(spec, world.stores, moments[-1], log)


def held(life: Life, lookups: int, seed: int, say: Say) -> Proof:
    """The proof, on what a deployment logged; at least so many look-ups must be in it."""
    say(f"{len(life.log):,} predictions logged; recomputing their features offline")
    found = parity(life.spec, life.log, life.stores)
    rows = [_row(view) for view in found]
    failures = [str(d) for view in found for d in view.examples]
    failures += [
        f"{v.view}: {v.unexplained} look-ups do not say what they knew" for v in found if v.unexplained
    ]
    if sum(view.lookups for view in found) < lookups:
        failures.append(f"only {sum(view.lookups for view in found)} look-ups were compared")
    canary, missed = _canaries(life.spec, life.stores, life.until, seed)
    return Proof(PROMISE, [*rows, *canary], [*failures, *missed])


def _row(view: ViewParity) -> dict[str, Any]:
    return {
        "view": view.view,
        "look-ups": view.lookups,
        "values": view.values,
        "differences": view.differences,
        "late": view.late,
    }


def _steps(begin: datetime, end: datetime, steps: int, seed: int) -> list[datetime]:
    dice = random.Random(seed)  # noqa: S311 - a choice of cases, no secret
    seconds = range(86_400, int((end - begin).total_seconds()))
    return [begin + timedelta(seconds=s) for s in sorted(dice.sample(seconds, steps))]


def _asked(
    spec: ModelSpec, world: World, moments: Sequence[datetime], questions: int, seed: int, say: Say
) -> list[Prediction]:
    """Questions after each step, asked of the serving app; what it logged, read back."""
    with asking(spec, world.stores, world.stores.features) as ask:
        for number, moment in enumerate(moments):
            world.live(moment)
            compute.compute(moment, world.stores)
            for body in questions_at(spec, world.stores, moment, questions, seed + number):
                ask(body)
            say(f"{moment:%Y-%m-%d %H:%M}: {questions:,} questions ({number + 1} of {len(moments)})")
    return world.stores.predictions.recent(spec.name, questions * len(moments))


def questions_at(
    spec: ModelSpec, stores: Stores, moment: datetime, count: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Requests with entities that occur, mixed, and some that do not; for events before, at and long after now."""
    dice = random.Random(seed)  # noqa: S311 - a choice of cases, no secret
    source = dataset(spec.label.dataset)
    columns = [name for name in spec.entities if name in source.columns]
    # Truth may take weeks: whoever else tells of the same entities is asked, too.
    told = [each for each in map(dataset, spec.datasets) if set(columns) <= set(each.columns)]
    known = connect(stores, told, moment, moment - timedelta(days=4))
    names = ", ".join(f'"{name}"' for name in columns)
    every = " union all ".join(f"select {names} from {each.name}" for each in told)
    rows = known.execute(f"select {names} from ({every}) using sample reservoir(2000) repeatable ({seed})")
    pools = list(zip(*rows.fetchall(), strict=True)) or [("nobody",) for _ in columns]
    for _ in range(count):
        body = example(spec)
        body["entities"] |= {
            n: dice.choice(pool) or "unknown" for n, pool in zip(columns, pools, strict=True)
        }
        if dice.random() < UNSEEN:
            body["entities"][dice.choice(columns)] = "never seen"
        if event_time(spec) in body["request"]:
            ahead = timedelta(seconds=dice.choice(AHEAD) + dice.randrange(600))
            body["request"][event_time(spec)] = (moment + spec.label.horizon + ahead).isoformat()
        yield body


class StandIn:
    """A model that always answers one half, and says that it was fitted on all the spec's columns."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.feature_names_in_ = list(columns)

    def predict_proba(self, rows: "pd.DataFrame") -> "NDArray[Any]":
        import numpy as np

        return np.full((len(rows), 2), 0.5)


@dataclass(frozen=True)
class _Champion:
    """The one version there is, asked with the current feature views."""

    pipeline: StandIn
    views: Mapping[str, int]
    version: int = 1
    digest: str = "0" * 64
    as_of: datetime = LONG_AGO

    def champion(self, model: str) -> "_Champion":
        return self

    def champions(self) -> "Callable[[str], _Champion]":
        return self.champion

    def licence(self, version: Any) -> Licence:
        return Licence("", 1, self.digest, "PASS", "", "this proof", LONG_AGO)

    def fitted(self, version: Any) -> StandIn:
        return self.pipeline


@contextmanager
def asking(
    spec: ModelSpec, stores: Stores, source: Any
) -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    """The serving app with its prediction log, over features from `source`; what it answers to a request."""
    from pipelines.serving.app import create_app

    names = stores.features.feature_names(spec)
    columns = [*spec.entities, *spec.request, *names]
    models = _Champion(StandIn(columns), stores.features.pinned(names, {}))
    app = create_app(stores.settings, {spec.name: spec}, models, source, stores.predictions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fastapi.testclient import TestClient

        with TestClient(app) as client:
            _until_ready(client)

            def ask(body: dict[str, Any]) -> dict[str, Any]:
                answer = client.post(f"/v1/models/{spec.name}/predictions", json=body)
                said = answer.json()
                # Questions about the past or about nobody are degraded, and answered.
                if answer.status_code != 200 or UNREAD in said["warnings"]:
                    raise EvergreenError(f"serving did not answer: {answer.text}")
                return dict(said)

            yield ask


def _until_ready(client: Any) -> None:
    deadline = time.monotonic() + 60
    while client.get("/ready").status_code != 200:
        if time.monotonic() > deadline:
            raise EvergreenError("serving did not load its champion within a minute")
        time.sleep(0.05)


class Skewed(OneByOne):
    """A feature source that gets one value wrong in each answer, and remembers which."""

    def __init__(self, stores: Stores, kind: str, seed: int) -> None:
        self._features, self._kind = stores.features, kind
        self._dice = random.Random(seed)  # noqa: S311 - a choice of cases, no secret
        self._before: dict[str, Any] = {}
        self.wrong: list[str | None] = []

    def feature_names(self, spec: ModelSpec) -> list[str]:
        return self._features.feature_names(spec)

    def online(self, names: Sequence[str], *asked: Any) -> Any:
        """The store's answer with one feature skewed."""
        found = self._features.online(names, *asked)
        skewed = {n: self._skew(n, v) for n, v in found.values.items()}
        able = [n for n, v in skewed.items() if v != found.values[n]]
        name = self._dice.choice(able) if able else None
        self._before, values = dict(found.values), dict(found.values)
        if name is not None:
            values[name] = skewed[name]
        self.wrong.append(name)
        return replace(found, values=values)

    def _skew(self, name: str, value: Any) -> Any:
        """What the kind makes of a value; the value itself where it can do nothing."""
        if self._kind == "zero for missing":
            return 0.0 if value is None else value
        if value is None or isinstance(value, str):
            return value
        made = {
            "off by a millionth": value * (1 + 1e-6),
            "missing": None,
            "another entity's": self._before.get(name, value),
            "rounded": float(round(value, 2)),
        }
        return made[self._kind]


KINDS = ("off by a millionth", "missing", "zero for missing", "another entity's", "rounded")


def _canaries(
    spec: ModelSpec, stores: Stores, moment: datetime, seed: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Each kind of skew through the same serving app: each wrong value is named, and no other."""
    rows, failures = [], []
    for number, kind in enumerate(KINDS):
        source = Skewed(stores, kind, seed + number)
        with asking(spec, stores, source) as ask:
            source.wrong.clear()  # what warming up asked
            answers = [ask(body) for body in questions_at(spec, stores, moment, CANARIES, seed + number)]
        log = {p.prediction_id: p for p in stores.predictions.recent(spec.name, CANARIES)}
        planted = {(a["prediction_id"], n) for a, n in zip(answers, source.wrong, strict=True) if n}
        found = {
            (d.prediction_id, d.feature) for v in parity(spec, list(log.values()), stores) for d in v.examples
        }
        rows.append(
            {"view": f"canary: {kind}", "look-ups": len(planted), "differences": len(found & planted)}
        )
        if planted != found or not planted:
            failures.append(f"canary, {kind}: {len(planted)} values planted, {len(found & planted)} of them named"
                            f" and {len(found - planted)} others")  # fmt: skip
    return rows, failures
