"""One version asked as serving would ask it, in a process of its own, before anybody else is answered by it."""

__all__ = ["probe", "warm"]
