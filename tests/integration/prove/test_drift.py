"""The promise of drift, held small; and that it would be seen if the test of drift were deaf or cried wolf."""

from dataclasses import replace
from typing import Any

import pytest

from pipelines.contracts import DomainFinding
from pipelines.monitoring.drift.verdict import look
from pipelines.prove import drift
from pipelines.prove.drift.domain import Tried, breaches


def small(**told: Any) -> Any:
    return drift.prove(
        **{
            "days": 40,
            "columns": 10,
            "rows": 143,
            "stock": 0,
            "worlds": 0,
            "seed": 0,
            "say": lambda _: None,
            **told,
        }
    )


@pytest.mark.parametrize(
    ("quiet", "tied", "judged", "said"),
    [
        (0, 9, True, "columns that go together were told in 9 of 20 worlds, half were promised"),
        (8, 10, True, "all columns together were told in 8 of 20 quiet weeks, 6 may be by chance"),
        (0, 20, False, "all columns together were not judged"),
        (6, 10, True, None),
    ],
)
def test_all_columns_together_that_tell_too_little_or_too_much_break_the_promise(
    quiet: int, tied: int, judged: bool, said: str | None
) -> None:
    def one(told: bool) -> DomainFinding:
        return DomainFinding(0.6, (0.5,) * 12, 0.1, told) if judged else DomainFinding(why="few")

    tried = [Tried(one(place < quiet), one(place < tied), False) for place in range(20)]
    assert breaches(tried) == ([said] if said else [])


def test_a_quiet_time_is_quiet_and_each_kind_of_shift_is_found() -> None:
    proof = small(stock=1, worlds=3)
    assert proof.holds, proof.failures
    assert len(proof.rows) == 4 + len(drift.LADDER) + 1 + 3
    quiet = [row for row in proof.rows if "quiet days" in row["what"]]
    assert [row["what"] for row in quiet] == ["40 quiet days", "40 quiet days, months apart"]
    assert {row["of"] for row in quiet} == {f"{40 * (2 * 10 + 1):,} looks"}
    assert (proof.rows[-4]["caught"], proof.rows[-4]["of"]) == ("3 of 3", "3 quiet weeks")


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
