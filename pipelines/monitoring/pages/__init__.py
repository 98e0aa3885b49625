"""What the monitor shows: the page of one look, the history of a model's looks, each column's weeks as a picture."""

__all__ = ["drift", "heat", "history"]
