"""Arrived files become rows of silver, quarantine or superseded, each exactly once.

In come files in the landing folder; out go one Delta commit per batch, its state in the ledger, and what people release
or discard later. It looks at no feature and no model. Only this room writes silver and quarantine.
"""

__all__ = [
    "arrivals",
    "faults",
    "ingest",
    "quarantine",
]
