"""An answer that is computed when it is asked for."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.saved_dataset import SavedDatasetStorage, ValidationReference

from pipelines.stores.offline import writing


class DeltaRetrievalJob(RetrievalJob):  # type: ignore[misc]
    """A question with its pinned versions; each call of to_df or to_arrow answers it anew."""

    def __init__(
        self,
        settings: Any,
        query: Callable[[], pa.Table],
        full_feature_names: bool = False,
        metadata: Callable[[], RetrievalMetadata] | None = None,
        asked: pd.DataFrame | None = None,
    ) -> None:
        self._settings = settings
        self._query = query
        self._full_feature_names = full_feature_names
        self._metadata = metadata
        self._asked = asked

    def to_df(
        self, validation_reference: ValidationReference | None = None, timeout: int | None = None
    ) -> pd.DataFrame:
        """Feast's to_df, with the columns of a frame of entity rows exactly as they were."""
        frame: pd.DataFrame = super().to_df(validation_reference, timeout)
        for name, given in () if self._asked is None else self._asked.items():
            if given.dtype != frame[str(name)].dtype or given.dtype == object:
                frame[str(name)] = given.array.copy()
        return frame

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._query()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._query().to_pandas()
        return frame

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[Any]:
        """None ever: their code is a pickle in the registry."""
        return []

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._metadata() if self._metadata else None

    def persist(
        self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None
    ) -> None:
        """Writes the answer whole, to a Parquet file or folder or a Delta table.

        Raises SavedDatasetLocationAlreadyExists if something is there and may not be overwritten.
        """
        writing.save(self._settings, self.to_arrow(), storage.to_data_source(), allow_overwrite)
