"""What serving does while what it leans on is gone, slow or wrong: it answers on from what it holds, and says so."""

__all__ = ["deadline", "fetching", "remembered", "spool"]
