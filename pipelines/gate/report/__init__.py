"""What people look at after a judgement: the page, the plots, and the numbers behind them. It decides nothing."""

__all__ = [
    "charts",
    "details",
    "explanations",
    "files",
    "look",
    "page",
    "plots",
]
