"""What each input contributed to an answer, by the very version that gave it, whichever answers now."""

from typing import Any

from pipelines import catalog
from pipelines.record.explain import logged
from pipelines.serving.explaining import EVALUATIONS
from pipelines.stores import Stores


def contributions(
    prediction_id: str, stores: Stores, evaluations: int = EVALUATIONS, of: str | None = None
) -> dict[str, Any]:
    """An answer of the log as a sum, as serving tells it; the version's files are verified before they are loaded.

    EvergreenError says what is missing. `of` names a class, by default the one that was predicted.
    """
    from pipelines.serving.explaining.logged import explain

    asked = logged(prediction_id, stores)
    version = stores.tracking.that_answered(asked.model, asked.version, asked.digest)
    pipeline, background = stores.tracking.fitted(version), stores.tracking.background(version)
    return explain(asked, catalog.model(asked.model), pipeline, background, evaluations, of).model_dump()
