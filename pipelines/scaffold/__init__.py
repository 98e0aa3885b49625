"""A person's own file becomes a whole model: what lands, what is known, what is asked, and when it may serve.

In come a CSV or Parquet file and what its owner says of it; out go the model's files, its data where files land, and a
trial of the whole loop on it. It decides nothing that is not shown with its reason, and changes no file that is there.
"""

__all__ = [
    "design",
    "names",
    "new",
    "pilot",
    "project",
    "trial",
]
