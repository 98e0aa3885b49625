"""Rules of rollouts that are over: from when to when each was, as the audit log says it."""

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from pipelines.contracts import as_json
from pipelines.rollout.moves import ADVANCE, BEGIN, COMPLETE, TAKE_BACK, Running
from pipelines.rollout.past import spans

NOW = datetime(2013, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def entry(action: str, running: Running, at: datetime) -> Any:
    return SimpleNamespace(action=action, evidence=as_json(asdict(running)), at=at)


def told(*entries: Any) -> Any:
    return spans("m", SimpleNamespace(audit=SimpleNamespace(entries=lambda _: list(entries))))  # type: ignore[arg-type]


def running(name: str, version: int, begun: datetime = NOW) -> Running:
    return Running(name, "m", version, version - 1, "d", "r", 0, begun, begun)


def test_a_rollout_lasts_from_its_beginning_to_its_end_however_many_steps_it_took() -> None:
    one, two, three = (running(f"m@{n}", n, NOW + n * 10 * HOUR) for n in (2, 3, 4))
    step = replace(one, step=1, since=one.begun + HOUR)
    found = told(
        entry(BEGIN, one, one.begun),
        entry(ADVANCE, step, step.since),
        entry(COMPLETE, step, one.begun + 3 * HOUR),
        entry(BEGIN, two, two.begun),
        entry(TAKE_BACK, two, two.begun + HOUR),
        entry(BEGIN, three, three.begun),
    )
    assert [(each.rollout, each.champion, each.challenger) for each in found] == [
        ("m@2", 1, 2),
        ("m@3", 2, 3),
        ("m@4", 3, 4),
    ]
    assert [each.begun for each in found] == [one.begun, two.begun, three.begun]
    assert [each.ended for each in found] == [one.begun + 3 * HOUR, two.begun + HOUR, None]
    assert [each.promoted for each in found] == [True, False, False]


def test_a_model_that_was_never_rolled_out_has_none() -> None:
    assert told() == []
