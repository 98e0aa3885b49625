"""How a model did, day by day: its answers, the truth that came for them, and the page that shows both."""

__all__ = ["days", "page"]
