"""Feast as its quickstart has it: FileSources, a SQLite online store, and DuckDB instead of Dask for the joins."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from benchmarks.stock_dag.places import Home

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore


MEASURED = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")


def _shares(of: str, *windows: str) -> list[str]:
    return [name for w in windows for name in (f"mean_{of}_delay_{w}", f"late_share_{w}")]


VIEWS: dict[str, tuple[list[str], timedelta, list[str]]] = {
    "aircraft": (["tailnum"], timedelta(0), ["year", "seats", "engines"]),
    "aircraft_rotation": (
        ["tailnum"],
        timedelta(hours=12),
        ["mean_departure_delay_12h", "departures_12h", "mean_arrival_delay_12h", "last_delay"],
    ),
    "carrier_delays": (["origin", "carrier"], timedelta(hours=6), _shares("departure", "3h", "24h", "7d")),
    "carrier_punctuality": (["carrier"], timedelta(days=2), _shares("arrival", "1d", "7d")),
    "destination_delays": (["dest"], timedelta(hours=6), _shares("arrival", "6h", "24h", "7d")),
    "origin_congestion": (
        ["origin"],
        timedelta(hours=6),
        [*(f"departures_{w}" for w in ("1h", "3h", "24h")), *_shares("departure", "1h", "3h", "24h")],
    ),
    "origin_weather": (
        ["origin"],
        timedelta(hours=6),
        [*MEASURED, "precip_6h", "visib_min_6h"],
    ),
    "route_punctuality": (["origin", "dest"], timedelta(days=2), _shares("arrival", "1d", "7d")),
}
"""Keys, time to live and features of each view; `feature_repo/` has the same."""


def opened(home: Home) -> "FeatureStore":
    """The feature store of a home."""
    from feast import FeatureStore, RepoConfig
    from feast.infra.offline_stores.duckdb import DuckDBOfflineStoreConfig
    from feast.infra.online_stores.sqlite import SqliteOnlineStoreConfig
    from feast.repo_config import RegistryConfig

    folder = home.root / "feast"
    folder.mkdir(parents=True, exist_ok=True)
    return FeatureStore(
        config=RepoConfig(
            project="stock",
            provider="local",
            registry=RegistryConfig(path=str(folder / "registry.db")),
            offline_store=DuckDBOfflineStoreConfig(),
            online_store=SqliteOnlineStoreConfig(path=str(folder / "online.db")),
            entity_key_serialization_version=3,
        )
    )


def apply(home: Home) -> None:
    """`feast apply`: entities and views into the registry, once, when a deployment is made."""
    from feast import Entity, FeatureView, Field, FileSource
    from feast.types import Float64, String
    from feast.value_type import ValueType

    names = sorted({key for keys, _, _ in VIEWS.values() for key in keys})
    entities = {n: Entity(name=n, join_keys=[n], value_type=ValueType.STRING) for n in names}
    views = [
        FeatureView(
            name=name,
            entities=[entities[key] for key in keys],
            ttl=ttl,
            schema=[
                *(Field(name=k, dtype=String) for k in keys),
                *(Field(name=f, dtype=Float64) for f in features),
            ],
            source=FileSource(
                name=name,
                path=str(home.view(name)),
                timestamp_field="event_timestamp",
                created_timestamp_column="created_timestamp",
            ),
        )
        for name, (keys, ttl, features) in VIEWS.items()
    ]
    opened(home).apply([*entities.values(), *views])


def materialize(end: datetime, home: Home) -> None:
    """The newest values go online."""
    opened(home).materialize_incremental(end_date=end)


def historical(entities: "pd.DataFrame", home: Home) -> "pd.DataFrame":
    """Each row with the features of its `event_timestamp`."""
    asked = [f"{view}:{feature}" for view, (_, _, features) in VIEWS.items() for feature in features]
    found: Any = opened(home).get_historical_features(entities, asked, full_feature_names=True)
    rows: pd.DataFrame = found.to_df()
    return rows
