"""The prediction API: answers with the champion, follows it without a restart, and logs each answer before it leaves.

In come questions, over HTTP or as the rows of a file, and the registry's alias; out go answers, what each input
contributed to one, the prediction log and the Delta tables of scored files. It uses the stores and the catalog alone,
no other room, writes nothing else, and loads nothing without signature, digest and licence.
"""

__all__ = [
    "app",
    "metrics",
    "predictor",
    "schemas",
]
