"""What people ask afterwards: cards, why, explain, lineage, who was champion, and whether all is as it was written.

In come the audit log, the registry and the decision records; out go answers, cards and findings. It changes nothing but
the cards and pages that it writes.
"""

__all__ = [
    "card",
    "champion_history",
    "contributions",
    "explain",
    "lineage",
    "openlineage",
    "verification",
    "why",
]
