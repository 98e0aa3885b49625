"""One feature service per model, of the features its spec.yaml names."""

import importlib
from contextlib import suppress

from feast import FeatureService

from pipelines.catalog import ModelSpec, models


def projections(spec: ModelSpec) -> list:
    """The views a model names: whole (`view:*`) or by feature."""
    wanted = spec.features_by_view
    views = {name: getattr(importlib.import_module(name), name) for name in wanted}
    return [views[name] if "*" in names else views[name][names] for name, names in wanted.items()]


for _spec in (spec for spec in models().values() if spec.features):
    # A model that asks for what no view has goes without a service, and no other does; `evergreen check` names it.
    with suppress(ModuleNotFoundError, AttributeError, ValueError):
        globals()[_spec.name] = FeatureService(
            name=_spec.name, features=projections(_spec), description=_spec.description, owner=_spec.owner
        )
