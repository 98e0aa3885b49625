"""What the local services are told follows from the settings, and from the shell only where that does no harm."""

import pytest

from pipelines.local.environment import environment
from pipelines.stores import Stores


def test_services_keep_bytecode_also_where_the_shell_keeps_none(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("NO_SETTING_OF_OURS", "kept")
    told = environment(stores.settings)
    assert told["NO_SETTING_OF_OURS"] == "kept"
    assert "PYTHONDONTWRITEBYTECODE" not in told
