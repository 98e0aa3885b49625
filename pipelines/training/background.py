"""Keeps a few of the rows a model was trained on beside it, so that its answers can be explained."""

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.stores import Stores
from pipelines.stores.tracking.background import DIGEST, FILE, FOLDER, written
from pipelines.stores.tracking.registry import file_digest
from pipelines.training.answers import inputs_of

if TYPE_CHECKING:
    import pandas as pd

ROWS = 100
"""With more, explanations depend less on which rows were drawn (as the root), and take longer (in proportion)."""


def log(stores: Stores, run_id: str, model: Any, inputs: "pd.DataFrame", question: str) -> dict[str, str]:
    """Keep ROWS rows with the run, drawn by the training set's digest; the tag with the file's digest."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        path.write_bytes(written(drawn(inputs_of(inputs, model), question)))
        stores.tracking.log_files(run_id, FOLDER, path)
        return {DIGEST: file_digest(path)}


def drawn(rows: "pd.DataFrame", question: str) -> "pd.DataFrame":
    """ROWS of the rows, each as likely as any other; the same for the same training set, named by its digest."""
    seed = int.from_bytes(hashlib.sha256(question.encode()).digest()[:4], "big")
    return rows.sample(min(ROWS, len(rows)), random_state=seed).reset_index(drop=True)
