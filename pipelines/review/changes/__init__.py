"""What differs between a git revision and the work tree, for each model that it touches, in words for its review."""

__all__ = [
    "found",
    "markdown",
    "quality",
]
