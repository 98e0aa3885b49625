"""The prediction API with everything behind it: real HTTP handling and a real log; sources held in memory."""

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from pipelines.catalog import ModelSpec, model
from pipelines.contracts import EvergreenError
from pipelines.serving.schemas import example
from pipelines.serving.sources import OneByOne
from pipelines.stores import Stores
from pipelines.stores.audit.licences import Licence
from pipelines.stores.feature_store.online_values import Online

SPEC = model("flight_delays")
URL = "/v1/models/flight_delays/predictions"
FEATURES = ["origin_weather__temp", "carrier_punctuality__late_share", "aircraft__seats"]
KNOWN = {"origin_weather__temp": 40.0, "carrier_punctuality__late_share": 0.2, "aircraft__seats": 150}
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
COME = {view: {"version": 2, "as_of": "2013-03-31T22:00:00+00:00", "table": 7} for view in ("aircraft",)}


def flights() -> pd.DataFrame:
    """400 made-up flights to learn from."""
    chance = np.random.default_rng(0)
    departure = pd.date_range("2013-01-01", periods=400, freq="37min", tz="UTC").astype("datetime64[us, UTC]")
    return pd.DataFrame(
        {
            "carrier": chance.choice(["UA", "AA", "DL"], 400),
            "origin": chance.choice(["EWR", "JFK"], 400),
            "dest": chance.choice(["IAH", "MIA"], 400),
            "tailnum": "N14228",
            "scheduled_departure": departure,
            "scheduled_arrival": departure + timedelta(hours=4),
            "distance": chance.integers(100, 3000, 400),
            **{name: chance.normal(size=400) for name in FEATURES},
        }
    )


@dataclass
class Version:
    version: int
    digest: str
    as_of: datetime = datetime(2013, 3, 31, tzinfo=UTC)
    views: Mapping[str, int] = field(default_factory=lambda: {"aircraft": 2})


def licence(version: Version, decision: str = "PASS", why: str = "") -> Licence:
    return Licence(SPEC.name, version.version, version.digest, decision, "record", "ada", NOW, why)


@dataclass
class Models:
    """A registry in memory: one alias, and what loading each version gives."""

    alias: Version | None = None
    loads: dict[int, Any] = field(default_factory=dict)
    down: bool = False
    unlicensed: int | None = None
    licences: dict[int, Licence] = field(default_factory=dict)
    built: list[int] = field(default_factory=list)
    wait: Callable[[], object] = lambda: None

    def champion(self, model: str) -> Version | None:
        if self.down:
            raise ConnectionError("the registry is down")
        return self.alias

    def champions(self) -> Callable[[str], Version | None]:
        if self.down:
            raise ConnectionError("the registry is down")
        return self.champion

    def licence(self, version: Version) -> Licence:
        if self.unlicensed == version.version:
            raise EvergreenError("it has not passed its gate")
        return self.licences.get(version.version) or licence(version)

    def fitted(self, version: Version) -> Any:
        self.built.append(version.version)
        self.wait()
        if version.version not in self.loads:
            raise ValueError("the digest does not match")
        return self.loads[version.version]


@dataclass
class FeatureTable(OneByOne):
    """Online features in memory, by carrier; remembers what it was asked."""

    values: dict[str, dict[str, Any]] = field(default_factory=lambda: {"UA": dict(KNOWN)})
    down: bool = False
    since: datetime | None = None
    moments: list[datetime | None] = field(default_factory=list)
    views: list[dict[str, int]] = field(default_factory=list)

    def online(
        self,
        names: Sequence[str],
        entities: Mapping[str, Any],
        moment: datetime | None = None,
        views: Mapping[str, int] | None = None,
    ) -> Online:
        if self.down:
            raise ConnectionError("the feature store is down")
        self.moments.append(moment)
        self.views.append(dict(views or {}))
        found = self.values.get(entities["carrier"], dict.fromkeys(FEATURES))
        return Online(found, dict(COME), dict.fromkeys(found, self.since) if self.since else {})

    def feature_names(self, spec: ModelSpec) -> list[str]:
        return FEATURES


@dataclass
class World:
    """One running app with everything behind it."""

    app: FastAPI
    client: TestClient
    models: Models
    features: FeatureTable
    stores: Stores

    def ask(self, **changes: Any) -> Any:
        body = deepcopy(example(SPEC))
        for name, value in changes.items():
            body["entities" if name in SPEC.entities else "request"][name] = value
        return self.client.post(URL, json=body)

    def metric(self, name: str, **labels: str) -> float:
        families = text_string_to_metric_families(self.client.get("/metrics").text)
        samples = [s for f in families for s in f.samples if s.name == name]
        return sum(s.value for s in samples if labels.items() <= s.labels.items())

    def serving(self) -> Any:
        return self.client.get("/v1/models/flight_delays").json()["version"]


def wait(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit, "the condition was not met within 30 s"
        time.sleep(0.01)
