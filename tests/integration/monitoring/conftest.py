"""What the rules of the monitor share."""

from pathlib import Path

import pytest

from pipelines.stores import Stores
from tests.retrainings import copied, crowned


@pytest.fixture
def watched(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """Stores whose version 1 is champion."""
    return copied(crowned(tmp_path_factory), tmp_path)
