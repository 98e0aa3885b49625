"""What each step read and wrote, as OpenLineage calls it: plain names and facets, without its client or Airflow.

Names are those of the catalog: a table by its place in the lake, a file by its path, a model by its name in MLflow, an
online view by its name and version in Feast. No row, login or setting is in them.
"""

__all__ = ["datasets", "told"]
