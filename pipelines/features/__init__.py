"""Silver becomes feature tables: what was known at each moment, computed by the SQL of feature_repo/.

In come silver and the views' SQL; out go feature tables in Delta, the newest values online, and the health of each
view. It reads no label and no model, and a view that reads the future is refused by name.
"""

__all__ = [
    "compute",
    "dialects",
    "frontier",
    "health",
    "leakage",
    "parity",
    "silver",
    "spark",
    "view_rows",
    "watermark",
]
