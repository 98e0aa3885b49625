"""Rows as questions that serving answered, in the prediction log."""

from uuid import uuid4

import numpy as np
import pandas as pd

from pipelines.stores import Stores
from pipelines.stores.answers.predictions import Prediction
from tests.retrainings import MODEL
from tests.training_sets import spec


def logged(
    stores: Stores, rows: pd.DataFrame, said: object, degraded: object = False, version: int = 1
) -> list[str]:
    """The rows as questions that serving answered; their ids."""
    values, gone = np.broadcast_to(said, len(rows)), np.broadcast_to(degraded, len(rows))
    of = spec()
    answers = [
        Prediction(
            prediction_id=str(uuid4()), model=MODEL, version=version, digest="d", answer=float(value), threshold=0.4,
            entities={name: getattr(row, name) for name in of.entities},
            request={
                "scheduled_departure": row.scheduled_departure.to_pydatetime(),
                "scheduled_arrival": row.scheduled_arrival.to_pydatetime(), "distance": int(row.distance),
            },
            features={}, degraded=bool(lost), asked_at=row.event_timestamp.to_pydatetime(),
            event_time=row.scheduled_departure.to_pydatetime(),
        )
        for row, value, lost in zip(rows.itertuples(), values, gone, strict=True)
    ]  # fmt: skip
    stores.predictions.record(*answers)
    return [each.prediction_id for each in answers]
