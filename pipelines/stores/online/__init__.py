"""The newest value of each feature, for Feast's online interface: on SQLite or Redis, never moved backwards."""

__all__ = [
    "batches",
    "materialization",
    "reached",
    "redis_store",
    "store",
]
