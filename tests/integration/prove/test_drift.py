"""The promise of drift, held small; and that it would be seen if the test of drift were deaf or cried wolf."""

from dataclasses import replace
from typing import Any

import pytest

from pipelines.monitoring.drift.verdict import look
from pipelines.prove import drift


def small(**told: Any) -> Any:
    return drift.prove(
        **{"days": 40, "columns": 10, "rows": 143, "stock": 0, "seed": 0, "say": lambda _: None, **told}
    )


def test_a_quiet_time_is_quiet_and_each_kind_of_shift_is_found() -> None:
    proof = small(stock=1)
    assert proof.holds, proof.failures
    assert len(proof.rows) == 4 + len(drift.LADDER) + 3
    quiet = [row for row in proof.rows if "quiet days" in row["what"]]
    assert [row["what"] for row in quiet] == ["40 quiet days", "40 quiet days, months apart"]
    assert {row["of"] for row in quiet} == {f"{40 * (2 * 10 + 1):,} looks"}


@pytest.mark.parametrize(
    ("moved", "said"), [(True, "alarms in 40 quiet days"), (False, "half were found in 61 days")]
)
def test_a_test_that_always_or_never_says_moved_breaks_the_promise(
    moved: bool, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "LONG", 60 if not moved else 1)
    monkeypatch.setattr(drift, "look", lambda *told: [replace(each, moved=moved) for each in look(*told)])
    proof = small()
    assert not proof.holds
    assert any(said in failure for failure in proof.failures)
