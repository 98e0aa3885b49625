"""Why an answer is what it is: what each input contributed to it, as Shapley values of the model as it stands."""

__all__ = ["logged"]

EVALUATIONS, LEAST, MOST = 16_384, 1_000, 200_000
"""Mixed rows that a model is asked about for one explanation: where nothing is said, and within which bounds."""
