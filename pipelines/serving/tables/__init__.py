"""Many questions at once: as rows of another protocol's request, or as a file that is scored into a Delta table."""

__all__ = [
    "archive",
    "scoring",
]
