"""The append-only log of decisions, chained by a key, and who signed what: keys, licences, origins."""

__all__ = [
    "chain",
    "events",
    "export",
    "keys",
    "licences",
    "log",
    "permits",
    "unlogged",
]
