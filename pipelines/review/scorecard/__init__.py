"""How ready a model is for production, by the rubric of Breck et al. (2017), from fresh evidence in this home alone."""

__all__ = [
    "card",
    "shown",
]
