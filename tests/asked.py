"""What serving asks the feature store for, without a store that holds anything."""

from datetime import datetime
from types import SimpleNamespace

from pipelines.catalog import ModelSpec
from pipelines.serving.metrics import Metrics
from pipelines.serving.predictor import Predictor
from pipelines.serving.schemas import example
from pipelines.serving.sources import OneByOne
from pipelines.stores.feature_store.online_values import Online


def moments(spec: ModelSpec, feature: str) -> list[datetime | None]:
    """The moments of which a feature is asked for the spec's own example."""
    asked: list[datetime | None] = []

    class Source(OneByOne):
        def online(self, names: list[str], entities: dict, moment: datetime, views: dict) -> Online:
            asked.append(moment)
            return Online(dict.fromkeys(names), {}, {})

    predictor = Predictor(spec, None, Source(), Metrics())
    question = predictor.request_model.model_validate(example(spec)).model_dump()
    predictor.features(SimpleNamespace(features=[feature], views={}), [question])
    return asked
