"""A question as of a moment becomes a registered candidate, and can be asked again to the bit.

In come label.sql, feature tables and the estimator of a model; out go a training set, an MLflow run and a registered
version with the digests of its data, code and environment. It gives no verdict and moves no alias.
"""

__all__ = [
    "answers",
    "background",
    "checkout",
    "contract",
    "many_classes",
    "metrics",
    "onnx",
    "rebuild",
    "registration",
    "reproduce",
    "search",
    "train",
    "training_set",
]
