"""What the January home of the tests has: the reference model's datasets, and every view that needs no other."""

from pipelines.catalog import REFERENCE, model, models

DATASETS = model(REFERENCE).datasets
FLOWN = sorted(
    {view for spec in models().values() if {*spec.datasets} <= {*DATASETS} for view in spec.features_by_view}
)
