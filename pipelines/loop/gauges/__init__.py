"""The loop in numbers for Prometheus, read from its records whenever a scrape asks."""

__all__ = [
    "collector",
    "server",
]
