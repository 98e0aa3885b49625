"""A Feast offline store on Delta tables and Parquet files: exact point-in-time joins by DuckDB's ASOF JOIN.

Feast's own DuckDB store joins in time quadratic per key; `make bench-features` shows both side by side.
"""

from pipelines.stores.offline.jobs import DeltaRetrievalJob
from pipelines.stores.offline.pins import pinned
from pipelines.stores.offline.store import DeltaOfflineStore, DeltaOfflineStoreConfig

__all__ = ["DeltaOfflineStore", "DeltaOfflineStoreConfig", "DeltaRetrievalJob", "pinned"]
