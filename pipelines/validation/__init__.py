"""Great Expectations judges a batch: rows that break a rule are set aside, a fault of the whole blocks it.

In come the staged rows of a batch, the dataset's suite and the batches before it; out go a verdict and a report as JSON
and page. It reads no file that landed and writes to no table.
"""

__all__ = [
    "expectations",
    "history",
    "reports",
    "validate",
]
