"""By what callers and server know each other: keys, tokens of somebody who issues them, certificates."""

__all__ = ["tls"]
