"""Two versions of a model in one process while one is rolled out: who answers whom, and both asked the same."""

__all__ = ["challenger", "mirror"]
