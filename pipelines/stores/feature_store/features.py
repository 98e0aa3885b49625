"""Feast, as this deployment has it: definitions, point-in-time rows and online values."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from functools import cached_property
from io import StringIO
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import yaml

from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError
from pipelines.settings import Settings
from pipelines.stores.feature_store import definitions, described, feast_import
from pipelines.stores.feature_store.described import Described
from pipelines.stores.feature_store.online_values import Asked, Online, OnlineValues, answered, reference
from pipelines.stores.feature_store.views import Views, ViewVersion

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore, FeatureView

    from pipelines.stores.online.reached import Materialized

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class Features:
    """The feature repository with its offline and online stores."""

    def __init__(self, settings: Settings, registered: Views | None = None) -> None:
        self.settings, self._registered = settings, registered
        os.environ.setdefault("FEAST_USAGE", "False")

    @cached_property
    def registered(self) -> Views:
        """All versions of all views that this deployment ever had."""
        return self._registered or Views(self.settings.database)

    @cached_property
    def _opened(self) -> "tuple[FeatureStore, dict[str, Described]]":
        feast_import.unchecked()
        from feast import FeatureStore
        from feast.repo_config import RepoConfig

        # It warns that a file registry needs no serve_features_while_materializing; a killed run shows it does.
        logging.getLogger("feast.repo_config").setLevel(logging.ERROR)
        self._folder.mkdir(parents=True, exist_ok=True)
        repo, mark = self.settings.feature_repo, self._folder / "applied"
        contents = described.contents(repo)
        store = FeatureStore(config=RepoConfig(**self._config(), repo_path=repo))
        current = definitions.apply(store, repo, self.registered, mark)
        views = ((store.get_feature_view(name), version) for name, version in current.items())
        found = {view.name: described.described(view, version) for view, version in views}
        described.remember(self._folder, contents, found)
        return store, dict(sorted(found.items()))

    @property
    def store(self) -> "FeatureStore":
        """Feast's FeatureStore of feature_store.yaml, its definitions applied if they changed."""
        return self._opened[0]

    @cached_property
    def described(self) -> dict[str, Described]:
        """Each view that the feature repository describes, by name; Feast reads it only if it has changed."""
        known = described.remembered(self._folder, self.settings.feature_repo, self.registered)
        return self._opened[1] if known is None else known

    @property
    def current(self) -> dict[str, ViewVersion]:
        """The version of each view that the feature repository describes, by name."""
        return {name: view.version for name, view in self.described.items()}

    @property
    def _folder(self) -> Path:
        """Where Feast's registry is kept, and what belongs to it."""
        return self.settings.home / "feast"

    def _config(self) -> dict[str, Any]:
        text = (self.settings.feature_repo / "feature_store.yaml").read_text()
        config: dict[str, Any] = _substituted(yaml.safe_load(text), self.variables())
        config["offline_store"] |= {"threads": self.settings.threads, **self._joining()}
        if self.settings.online_store == "redis":
            if self.settings.redis_url is None:
                raise EvergreenError("online_store is redis: set EVERGREEN_REDIS_URL to host:port")
            url = self.settings.redis_url.get_secret_value()
            kind = "pipelines.stores.online.redis_store.RedisOnlineStore"
            config["online_store"] = {"type": kind, "connection_string": url}
        return config

    def _joining(self) -> dict[str, Any]:
        """What joins training sets; by size only where features are on Spark, so that there is one."""
        wanted, own = self.settings.training_engine, self.settings
        return {
            "engine": "duckdb" if wanted == "auto" and own.feature_engine != "spark" else wanted,
            "spark_rows": own.training_spark_rows,
            "spark_master": own.spark_master,
            "spark_conf": own.spark_settings,
        }

    def variables(self) -> dict[str, str]:
        """What feature_store.yaml takes from the environment, for Feast's own command line."""
        return {"EVERGREEN_HOME": str(self.settings.home), "EVERGREEN_LAKE": self.settings.lake_uri}

    def views(self) -> "list[FeatureView]":
        """The current Feast definitions, by name."""
        return [self.store.get_feature_view(name) for name in self.current]

    def definition(self, version: ViewVersion) -> "FeatureView":
        """A version's Feast definition."""
        from feast.errors import FeatureViewVersionNotFound

        registry, project = self.store.registry, self.store.project
        try:
            return registry.get_feature_view_by_version(version.view, project, version.number)
        except FeatureViewVersionNotFound:  # another process brought it
            self.store.refresh_registry()
            return registry.get_feature_view_by_version(version.view, project, version.number)

    def feature_names(self, spec: ModelSpec) -> list[str]:
        """view__feature for all features of a model, in the order its data has them: that of its Feast service."""
        wanted = spec.features_by_view.items()
        return [f"{view}__{name}" for view, names in wanted for name in self._named(spec, view, names)]

    def _named(self, spec: ModelSpec, view: str, names: list[str]) -> Sequence[str]:
        """The features that a model takes of a view; EvergreenError if it has not all of them."""
        found = self.described.get(view)
        if found is None or not {*names} - {"*"} <= {*found.features}:
            raise EvergreenError(
                f"{spec.folder}/spec.yaml: it asks for features of {view} that are not there;"
                f" `evergreen check {spec.name}` names them"
            )
        return found.features if "*" in names else names

    def pinned(self, names: Iterable[str], views: Mapping[str, int]) -> dict[str, int]:
        """The version of each view that features (view__feature) come from: those named, else the current."""
        wanted = dict.fromkeys(name.split("__")[0] for name in names)
        return {view: views[view] if view in views else self.version(view).number for view in wanted}

    def version(self, view: str, number: int | None = None) -> ViewVersion:
        """A version of a view, the current one if no number is given."""
        if number is not None:
            return self.registered.version(view, number)
        if view not in self.current:
            raise EvergreenError(f"no feature view {view!r}; there are: {', '.join(self.current) or 'none'}")
        return self.current[view]

    def historical(
        self,
        names: Sequence[str],
        rows: "pd.DataFrame",
        views: Mapping[str, int] | None = None,
        tables: Mapping[str, int] | None = None,
    ) -> "pd.DataFrame":
        """Entity rows with each feature (view__feature) as it was known at the row's event_timestamp.

        `views` names the versions to read, by default the current; `tables` the Delta version of each of
        their tables, by default the newest.
        """
        if not names:
            return rows
        from pipelines.stores.offline import pinned

        numbers = self.pinned(names, views or {})
        references = [reference(name, numbers) for name in names]
        with pinned({f"features/{table}": version for table, version in (tables or {}).items()}):
            job = self.store.get_historical_features(
                entity_df=rows, features=references, full_feature_names=True
            )
            joined: pd.DataFrame = job.to_df()
        return joined.rename(columns=dict(zip(map(answered, references), names, strict=True)))

    def materialize(self, version: ViewVersion, start: datetime | None, end: datetime) -> None:
        """Bring a view's values known at `end` online; what is online never moves backwards.

        `start` is the earliest event time that changed; by default the end of the last materialization.
        """
        done = self.materialized(version)
        begin = min((t for t in (start, done.as_of if done else None) if t), default=BEGINNING)
        with (
            redirect_stdout(StringIO()),
            redirect_stderr(StringIO()),
        ):  # Feast prints; our callers tell of progress
            self.store.materialize(
                start_date=begin if done else BEGINNING,
                end_date=max(end, done.as_of) if done else end,
                feature_views=[version.view],
                version=f"v{version.number}",
            )

    def materialized(self, version: ViewVersion) -> "Materialized | None":
        """How far a view has come online; None before its first materialization."""
        if self.settings.online_store == "sqlite":
            return self._in_sqlite(version)
        store = self.store._get_provider().online_store
        found: Materialized | None = store.materialized(self.store.config, self.definition(version))
        return found

    def _in_sqlite(self, version: ViewVersion) -> "Materialized | None":
        """The same from the store's file, without Feast."""
        from pipelines.stores.online.reached import reached

        config = self._config()
        file = self.settings.feature_repo / config["online_store"]["path"]
        return reached(file, f"{config['project']}_{version.view}_v{version.number}")

    def online(
        self,
        names: Sequence[str],
        entities: Mapping[str, Any],
        moment: datetime | None = None,
        views: Mapping[str, int] | None = None,
    ) -> Online:
        """The newest value online of each feature (view__feature), None where there is none.

        Values older than their view's TTL are None, as in training: at the moment, or at that of the newest
        knowledge if it is later or no moment is given.
        """
        (found,) = self.online_rows(names, [(entities, moment)], views)
        return found

    def online_rows(
        self, names: Sequence[str], asked: Sequence[Asked], views: Mapping[str, int] | None = None
    ) -> list[Online]:
        """The same for each of some questions, looked up together."""
        return self._online.of(names, asked, views or {})

    @cached_property
    def _online(self) -> OnlineValues:
        return OnlineValues(self)


def _substituted(config: Any, variables: Mapping[str, str]) -> Any:
    """Parsed YAML with its ${VARIABLES} filled in: a folder's name may hold what YAML would read as its own."""
    if isinstance(config, dict):
        return {key: _substituted(value, variables) for key, value in config.items()}
    return Template(config).substitute(variables) if isinstance(config, str) else config
