#!/usr/bin/env bash
# Feast 0.67.0 with its DuckDB offline store and ibis 12.0.0: a feature view whose ttl is whole days, or less than a day,
# is joined; one of days and hours (timedelta(days=6, hours=21)) ends in "Unable to infer interval type from mixed
# units", as Feast hands the timedelta to ibis.literal, which takes one unit alone. apply() and materialize() take it,
# so that only the first training set says so. The same ttl in Feast's Dask store ("file") works.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check feast==0.67.0 'ibis-framework[duckdb]==12.0.0' dask==2024.12.1 duckdb==1.5.6 pandas==2.3.3
cat > "$folder/join.py" <<'PY'
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Int64

root = Path(sys.argv[1])
noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
rows = pd.DataFrame({"shop": ["a"], "orders": [3], "at": [noon - timedelta(hours=2)]})
asked = pd.DataFrame({"shop": ["a"], "event_timestamp": [noon]})


def joined(kind: str, ttl: timedelta) -> str:
    name = f"{kind}_{int(ttl.total_seconds())}"
    rows.to_parquet(root / f"{name}.parquet")
    shop = Entity(name="shop", join_keys=["shop"])
    source = FileSource(name=name, path=str(root / f"{name}.parquet"), timestamp_field="at")
    view = FeatureView(name="sales", entities=[shop], ttl=ttl, schema=[Field(name="orders", dtype=Int64)], source=source)
    store = FeatureStore(config=RepoConfig(
        project="shops", provider="local", registry=str(root / f"{name}.db"), offline_store={"type": kind},
        online_store={"type": "sqlite", "path": str(root / f"{name}.online")}, entity_key_serialization_version=3,
    ))
    store.apply([shop, view])
    try:
        return f"orders {store.get_historical_features(asked, ['sales:orders']).to_df()['orders'].tolist()}"
    except ValueError as error:
        return f"ValueError: {error}"


print(f"Feast {version('feast')}, ibis {version('ibis-framework')}")
for ttl in (timedelta(days=7), timedelta(hours=21), timedelta(days=6, hours=21)):
    for kind in ("duckdb", "file"):
        print(f"{kind}, ttl {ttl}: {joined(kind, ttl)}")
PY
"$folder/venv/bin/python" -W ignore "$folder/join.py" "$folder" 2>/dev/null | tee "$folder/said"
diff "$folder/said" - <<'SAID'
Feast 0.67.0, ibis 12.0.0
duckdb, ttl 7 days, 0:00:00: orders [3]
file, ttl 7 days, 0:00:00: orders [3]
duckdb, ttl 21:00:00: orders [3]
file, ttl 21:00:00: orders [3]
duckdb, ttl 6 days, 21:00:00: ValueError: Unable to infer interval type from mixed units, use ibis.interval(timedelta) instead
file, ttl 6 days, 21:00:00: orders [3]
SAID
