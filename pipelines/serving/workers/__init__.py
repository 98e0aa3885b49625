"""Some processes that answer at one port: from when a version answers in all, what they count, who looks after them."""

__all__ = ["processes", "seat", "turns"]
