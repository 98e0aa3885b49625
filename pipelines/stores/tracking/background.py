"""Rows that a version was trained on, kept beside it: what an explanation of its answers compares them with.

They are people's rows as much as the training set's are: they are read to be asked about, and never told.
"""

import io
from typing import TYPE_CHECKING

from pipelines.contracts import EvergreenError

if TYPE_CHECKING:
    import pandas as pd

FOLDER, FILE = "background", "background.parquet"
DIGEST = "background_digest"
"""The tag with the file's SHA-256."""


class Without(EvergreenError):
    """A version was registered without such rows."""


def written(rows: "pd.DataFrame") -> bytes:
    """The rows as Parquet, with their types."""
    return bytes(rows.to_parquet(index=False))


def read(data: bytes) -> "pd.DataFrame":
    """The rows again; whoever asks has verified the bytes."""
    import pandas as pd

    return pd.read_parquet(io.BytesIO(data))
