"""What a process of serving takes: its processors' seconds parted among its answers, told and kept by one thread."""

__all__ = ["account", "bookkeeper"]
