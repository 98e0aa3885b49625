"""What watching the loop keeps and counts: open alerts, what each step took, totals over the records."""

__all__ = ["alerts", "costs", "totals"]
