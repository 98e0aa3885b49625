"""What the local services are told follows from the settings, and from the shell only where that does no harm."""

import os

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


def test_services_do_not_count_in_a_folder_that_goes_with_the_command_that_starts_them(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    import feast  # noqa: F401 - it names one

    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", os.environ["PROMETHEUS_MULTIPROC_DIR"])
    assert not {name for name in environment(stores.settings) if name.startswith("PROMETHEUS_MULTIPROC")}
