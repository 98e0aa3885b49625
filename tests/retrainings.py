"""A home with a champion, trained by plan, judged and promoted once per test run; tests work on copies."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines import catalog
from pipelines.contracts import BatchState, IngestResult, as_json
from pipelines.loop import steps
from pipelines.settings import settings
from pipelines.stores import Stores
from tests.once import copied_home, once
from tests.training_sets import AS_OF, spec, training_set

MODEL = "flight_delays"
NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def land(stores: Stores, name: str, rows: int = 500, known: datetime = AS_OF - HOUR) -> None:
    """A file of flights whose outcomes were known by then, as the ledger keeps it."""
    times = {"first_known": known - HOUR, "last_known": known}
    digest = name.ljust(64, "0")
    stores.ledger.record(
        IngestResult(digest, "flights", f"{name}.csv", BatchState.COMMITTED, rows, rows, **times)
    )


def plan(now: datetime = NOW, as_of: datetime = AS_OF, **asked: object) -> dict:
    return steps.plan(MODEL, as_of.isoformat(), now=now.isoformat(), **{"woken": "data event", **asked})


def train(stores: Stores, planned: dict, now: datetime = NOW, **made: object) -> tuple[dict, dict]:
    """The candidate and its training set, which lies where the monitor looks for it."""
    rows = training_set(stores.settings.home, **{"name": "a", **made})
    plain = as_json(rows)
    return steps.train(MODEL, plain, planned, now=now.isoformat()), plain


def crown(stores: Stores, planned: dict, now: datetime = NOW, **made: object) -> dict:
    """Train, judge and promote; the promotion's answer."""
    candidate, rows = train(stores, planned, now, **made)
    steps.evaluate(MODEL, candidate, rows)
    return steps.promote(MODEL, candidate["version"], now=now.isoformat())


def crowned(factory: pytest.TempPathFactory) -> Path:
    """A home whose version 1 is champion."""
    return once(factory, "crowned", _crown)


def _crown(home: Path) -> None:
    small = spec()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_HOME", str(home))
        patch.setattr(catalog, "model", lambda name: small)
        settings.cache_clear()
        land(steps.stores(), "first")
        assert crown(steps.stores(), plan())["promoted"]
    settings.cache_clear()


def copied(home: Path, to: Path) -> Stores:
    """A copy to work on; the model file is the first home's until a new one is made."""
    copied_home(home, to)
    return steps.stores()
