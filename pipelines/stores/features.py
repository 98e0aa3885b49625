"""Feast, as this deployment has it: definitions, point-in-time rows and online values."""

import hashlib
import importlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from functools import cached_property
from io import StringIO
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import yaml

from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError
from pipelines.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore, FeatureView

LOOK_BACK = re.compile(r"^-- look_back: (\d+) (hours?|days?)$", re.MULTILINE)


class Features:
    """The feature repository with its offline and online stores."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        os.environ.setdefault("FEAST_USAGE", "False")

    @cached_property
    def store(self) -> "FeatureStore":
        """Feast's FeatureStore of feature_store.yaml, its definitions applied if they changed."""
        from feast import FeatureStore
        from feast.repo_config import RepoConfig

        (self.settings.home / "feast").mkdir(parents=True, exist_ok=True)
        config = RepoConfig(**self._config(), repo_path=self.settings.feature_repo)
        store = FeatureStore(config=config)
        self._apply(store)
        return store

    def _config(self) -> dict[str, Any]:
        text = (self.settings.feature_repo / "feature_store.yaml").read_text()
        config: dict[str, Any] = yaml.safe_load(Template(text).substitute(self.variables()))
        config["offline_store"]["threads"] = self.settings.threads
        if self.settings.online_store == "redis":
            if self.settings.redis_url is None:
                raise EvergreenError("online_store is redis: set EVERGREEN_REDIS_URL to host:port")
            url = self.settings.redis_url.get_secret_value()
            config["online_store"] = {"type": "redis", "connection_string": url}
        return config

    def variables(self) -> dict[str, str]:
        """What feature_store.yaml takes from the environment, for Feast's own command line."""
        return {"EVERGREEN_HOME": str(self.settings.home), "EVERGREEN_LAKE": self.settings.lake_uri}

    def _apply(self, store: "FeatureStore") -> None:
        """Write the definitions to the registry when they differ from those written last."""
        mark = self.settings.home / "feast" / "applied"
        if mark.exists() and mark.read_text() == self.digest:
            return
        store.apply(list(_definitions(self.settings.feature_repo)))
        mark.write_text(self.digest)

    @cached_property
    def digest(self) -> str:
        """Changes when a definition, its SQL or a model's list of features does."""
        from pipelines.catalog import models

        sha = hashlib.sha256()
        for path in sorted(self.settings.feature_repo.glob("*")):
            if path.suffix in {".py", ".sql", ".yaml"}:
                sha.update(path.name.encode() + b"\0" + path.read_bytes())
        sha.update(repr([(m.name, m.features) for m in models().values()]).encode())
        return sha.hexdigest()

    def sql(self, view: str) -> str:
        """How a view is computed: the .sql beside its definition."""
        path = self.settings.feature_repo / f"{view}.sql"
        if not path.exists():
            raise EvergreenError(f"feature view {view} has no {path.name}; add it beside {view}.py")
        return path.read_text()

    def consumer(self, view: str) -> str:
        """The name under which a view's progress is kept; a change of its SQL starts it anew."""
        return f"feature:{view}@{hashlib.sha256(self.sql(view).encode()).hexdigest()[:12]}"

    def look_back(self, view: str) -> timedelta:
        """How far before a window its SQL reads, declared in the file."""
        match = LOOK_BACK.search(self.sql(view))
        if match is None:
            raise EvergreenError(
                f"{view}.sql declares no look-back; add a line such as `-- look_back: 24 hours`"
            )
        return timedelta(**{match[2].rstrip("s") + "s": int(match[1])})

    def views(self) -> "list[FeatureView]":
        return sorted(self.store.list_feature_views(), key=lambda view: view.name)

    def feature_names(self, spec: ModelSpec) -> list[str]:
        """view__feature for all features of a model, in the order its data has them."""
        service = self.store.get_feature_service(spec.name)
        return [f"{p.name}__{f.name}" for p in service.feature_view_projections for f in p.features]

    def historical(self, spec: ModelSpec, rows: "pd.DataFrame") -> "pd.DataFrame":
        """Entity rows with each feature as it was known at the row's event_timestamp."""
        service = self.store.get_feature_service(spec.name)
        job = self.store.get_historical_features(entity_df=rows, features=service, full_feature_names=True)
        joined: pd.DataFrame = job.to_df()
        return joined

    def materialize(self, as_of: datetime, start: datetime | None = None) -> None:
        """Bring the values known at `as_of` online; a moment before the last one changes nothing.

        `start` names the earliest value that changed; by default the end of the last materialization.
        """
        done = self.materialized_to
        if done and as_of <= done and start is None:
            return
        begin = (
            min(t for t in (start, done, as_of) if t) if (start or done) else datetime(1970, 1, 1, tzinfo=UTC)
        )
        with redirect_stdout(StringIO()):  # Feast prints, and stdout may be somebody's JSON
            self.store.materialize(start_date=begin, end_date=max(as_of, done or as_of))

    @property
    def materialized_to(self) -> datetime | None:
        """Up to when every view is online; None before the first materialization."""
        ends = [view.most_recent_end_time for view in self.views()]
        return None if not ends or None in ends else min(ends)

    def online(
        self, spec: ModelSpec, entities: Mapping[str, Any], moment: datetime | None = None
    ) -> dict[str, Any]:
        """view__feature -> the newest value online, None where there is none.

        With `moment`, values older than their view's TTL at that moment are None, as in training.
        """
        service = self.store.get_feature_service(spec.name)
        answer = self.store.get_online_features(
            features=service, entity_rows=[dict(entities)], full_feature_names=True
        )
        values = {name: column[0] for name, column in answer.to_dict(include_event_timestamps=True).items()}
        lifetimes = {view.name: view.ttl for view in self.views()}
        return {
            name: value if _fresh(values.get(f"{name}__ts"), lifetimes[name.split("__")[0]], moment) else None
            for name in self.feature_names(spec)
            for value in [values.get(name)]
        }


def _fresh(seconds: int | None, lifetime: timedelta | None, moment: datetime | None) -> bool:
    """Whether a value of that epoch second still counts at the moment."""
    if not seconds or not lifetime or moment is None:
        return True
    return moment.timestamp() - seconds <= lifetime.total_seconds()


def _definitions(repo: Path) -> Iterator[Any]:
    """Every Feast object that the modules of the feature repository define."""
    from feast import Entity, FeatureService, FeatureView

    sys.path.insert(0, str(repo))
    try:
        modules = [importlib.import_module(path.stem) for path in sorted(repo.glob("*.py"))]
    finally:
        sys.path.remove(str(repo))
    found = {
        (type(o), o.name): o
        for m in modules
        for o in vars(m).values()
        if isinstance(o, Entity | FeatureView | FeatureService)
    }
    yield from found.values()
