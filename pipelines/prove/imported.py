"""Importing this imports the two slowest libraries as the product does, for processes that are forked from one."""

from pipelines.stores.feature_store import feast_import
from pipelines.validation.expectations import gx

gx()
feast_import.unchecked()
