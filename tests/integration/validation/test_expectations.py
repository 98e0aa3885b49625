"""Great Expectations is imported without Spark, which it would import where it finds it."""

import sys
from types import ModuleType

import pytest

from pipelines.validation.expectations import without_spark


@pytest.fixture
def nothing_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyspark", "great_expectations"):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("nothing_imported")
def test_spark_is_not_found_meanwhile_and_can_be_imported_afterwards() -> None:
    with without_spark(), pytest.raises(ImportError):
        import pyspark  # noqa: F401
    assert "pyspark" not in sys.modules


@pytest.mark.usefixtures("nothing_imported")
@pytest.mark.parametrize("name", ["pyspark", "great_expectations"])
def test_nothing_changes_where_either_was_imported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may be at work with Spark."""
    there = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, there)
    before = sys.modules.get("pyspark")
    with without_spark():
        assert sys.modules.get("pyspark") is before
        assert sys.modules[name] is there
