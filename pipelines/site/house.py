"""All models of a deployment, and the datasets and feature views that they stand on."""

from collections.abc import Mapping
from datetime import datetime

from pipelines import catalog
from pipelines.catalog import ModelSpec
from pipelines.site import sources
from pipelines.site.facts import HouseFacts
from pipelines.site.model import facts
from pipelines.site.told import told
from pipelines.stores import Stores


def house(stores: Stores, now: datetime, models: Mapping[str, ModelSpec]) -> HouseFacts:
    """These models, every dataset and view, and what is wrong with specs that are not sound."""
    return HouseFacts(
        models=tuple(facts(spec, stores, now) for spec in models.values()),
        datasets=told("datasets", lambda: sources.datasets(stores, catalog.datasets())),
        views=told("views", lambda: sources.views(stores)),
        broken=catalog.faults(),
    )
