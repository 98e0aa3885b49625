"""Proofs about features: right in time, equal online and offline, on every engine, never backwards."""

__all__ = [
    "as_of",
    "engines",
    "materialization",
    "parity",
]
