"""What serving answered and what became of it: the prediction log, its way to the lake, and rollouts' comparisons."""

__all__ = ["archive", "comparisons", "predictions"]
