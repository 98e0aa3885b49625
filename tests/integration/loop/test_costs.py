"""What steps took is kept as they run, and a bill names what is idle, wasteful or slow, and nothing else."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.gate.record import VERDICT
from pipelines.loop import steps
from pipelines.loop.costs import idle, schedules, slow
from pipelines.loop.costs.bill import bill
from pipelines.loop.costs.findings import Asked
from pipelines.loop.costs.shares import users
from pipelines.loop.costs.storage import size, storage
from pipelines.loop.replay import replay
from pipelines.prove.promotion.world import World
from pipelines.stores import Stores
from pipelines.stores.answers.predictions import Prediction
from pipelines.stores.signals import Training
from pipelines.stores.watching.costs import (
    DATASET,
    MODEL,
    NOTHING,
    OK,
    SERVE,
    SERVE_IDLE,
    SERVING,
    VIEWS,
    Figure,
)
from tests import champions, retrainings

NAME = "flight_delays"
DAY, YEAR = timedelta(days=1), timedelta(days=365)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return champions.crowned(tmp_path_factory)


@pytest.fixture
def shop(world: World, tmp_path: Path) -> Stores:
    """A copy whose champion has reigned since now; versions 1 to 3 have been champion, 4 was judged, 5 was not."""
    return champions.copied(world, tmp_path / "home").stores


def keep(stores: Stores, at: datetime, cpu: float = 10.0, **said: object) -> None:
    told = {"stage": "train", "kind": MODEL, "subject": NAME, "outcome": OK, "wall": cpu, "run": "r"} | said
    stores.costs.add(Figure(began_at=at, cpu=cpu, **told), str(uuid4()), YEAR)  # type: ignore[arg-type]


def trained(stores: Stores, version: int, at: datetime) -> None:
    key = f"plan {version}"
    stores.signals.plan(Training(NAME, key, at, at, "code", {}))
    stores.signals.begin(NAME, key, at)
    stores.signals.end(NAME, key, version, at)


def answered(stores: Stores, at: datetime) -> None:
    stores.predictions.record(Prediction(str(uuid4()), NAME, 1, "d", {}, {}, {}, 0.5, 0.4, False, at, None))


def figures(stores: Stores) -> list[Figure]:
    return stores.costs.between(None, datetime.now(UTC) + YEAR)


def test_a_plan_a_training_a_verdict_and_a_promotion_leave_their_figures(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    found = {
        each.stage: each
        for each in figures(retrainings.copied(retrainings.crowned(tmp_path_factory), tmp_path))
    }
    assert {"plan", "train", "evaluate", "promote"} <= set(found)
    assert all(each.outcome == OK and each.subject == NAME for each in found.values())
    assert found["train"].version == found["evaluate"].version == 1
    assert found["evaluate"].rows
    assert all(each.cpu > 0 and each.wall > 0 and each.peak for each in found.values())


def test_an_ingestion_and_a_computation_of_features_leave_their_figures(
    flown: Stores, monkeypatch: pytest.MonkeyPatch, hardly_judged: None
) -> None:
    list(replay(NAME, date(2013, 1, 13), date(2013, 1, 13), "1d", flown.settings.landing_path))
    assert steps.ingest("weather")
    assert not steps.ingest("weather")
    run = steps.features(say=lambda _: None)
    ingested, swept, computed = figures(flown)
    assert (ingested.stage, ingested.kind, ingested.subject, ingested.outcome) == (
        "ingest",
        DATASET,
        "weather",
        OK,
    )
    assert ingested.rows
    assert (swept.outcome, swept.rows) == (NOTHING, None)
    assert (computed.kind, computed.rows) == (VIEWS, sum(run["rows"].values()))
    assert set(computed.parts) == set(run["rows"])
    assert 0 < sum(computed.parts.values()) < computed.wall
    found = bill(flown, datetime.now(UTC), None, None, "model", Asked())
    assert {line["name"] for line in found["lines"]} == {"flight_delays", "airport_hours", "card_fraud"} - (
        set() if "customer_home" in run["rows"] else {"card_fraud"}
    )
    assert sum(line["cpu"] for line in found["lines"]) == pytest.approx(found["whole"]["cpu"])
    assert {"model", "view"} & {row["kind"] for row in storage(flown)} == {"view"}


def test_a_model_without_answers_is_idle_and_saves_what_no_other_model_needs(shop: Stores) -> None:
    now = datetime.now(UTC) + 14 * DAY
    keep(shop, now - 14 * DAY, 100.0)
    keep(shop, now - 3 * DAY, 40.0, kind=DATASET, subject="planes", stage="ingest")
    keep(shop, now - 3 * DAY, 7.0, kind=DATASET, subject="departures", stage="ingest")
    keep(shop, now - 2 * DAY, 9.0, kind=VIEWS, subject="", stage="features", parts={"origin_weather": 1.0})
    [found] = idle.findings(figures(shop), users(), shop, now, Asked())
    assert found.models == (NAME,)
    assert found.saves == pytest.approx((100 + 40) / 2)
    assert "no answer is logged" in found.evidence
    assert "spec.yaml:" in found.remedy


def served(stores: Stores, at: datetime, *models: str, answers: int = 0, cpu: float = 2.0) -> None:
    """What one server of these models took in a few minutes, in which the first of them gave some answers."""
    made = Figure(
        SERVE, MODEL, models[0], OK, at, 3.0, cpu, runs=answers, rows=answers, version=4, peak=300_000_000
    )
    rest = Figure(
        SERVE_IDLE,
        SERVING,
        "",
        OK,
        at,
        300.0,
        30.0,
        runs=0,
        peak=300_000_000,
        parts=dict.fromkeys(models, 1.0),
    )
    stores.costs.add_up([made, rest] if answers else [rest], YEAR)


def test_an_idle_model_is_told_what_serving_took_that_waits_for_its_questions(shop: Stores) -> None:
    now = datetime.now(UTC) + 14 * DAY
    keep(shop, now - 14 * DAY, 100.0)
    for hours in range(4):
        served(shop, now - 3 * DAY + timedelta(hours=hours), NAME, "airport_hours")
    [shared] = idle.findings(figures(shop), users(), shop, now, Asked())
    assert shared.saves == pytest.approx(100 / 2)  # the other model keeps the server
    assert "serving stood idle for 0.3 hours" in shared.evidence
    assert "up to 300 MB each, which took 60.0 CPU s, its part beside airport_hours, which" in shared.evidence
    served(shop, now - 2 * DAY, NAME)
    [some] = idle.findings(figures(shop), users(), shop, now, Asked())
    assert some.saves == pytest.approx((100 + 30) / 2)


def test_answers_that_a_model_gave_before_it_was_idle_are_nothing_to_save(shop: Stores) -> None:
    now = datetime.now(UTC) + 14 * DAY
    answered(shop, now - 9 * DAY)
    keep(shop, now - 14 * DAY, 100.0)
    served(shop, now - 10 * DAY, NAME, "airport_hours", answers=50)
    [found] = idle.findings(figures(shop), users(), shop, now, Asked())
    assert found.saves == pytest.approx(100 / 2)
    assert "serving stood idle" not in found.evidence, "it answered after that"


def test_what_serving_takes_is_a_stage_of_the_bill_and_each_version_has_the_cost_of_an_answer(
    stores: Stores,
) -> None:
    at = (datetime.now(UTC) - timedelta(hours=2)).replace(minute=10)
    for minutes in (0, 5, 10):
        served(stores, at + timedelta(minutes=minutes), NAME, "airport_hours", answers=400)
    assert len(figures(stores)) == 2, "a row of the hour is added to"
    found = bill(stores, at + DAY, None, None, "stage", Asked())
    lines = {line["name"]: line for line in found["lines"]}
    assert (lines[SERVE]["runs"], lines[SERVE]["cpu"], lines[SERVE]["wall"]) == (1200, 6.0, 9.0)
    assert (lines[SERVE_IDLE]["runs"], lines[SERVE_IDLE]["cpu"]) == (0, 90.0)
    [each] = found["answers"]
    assert (each["name"], each["version"], each["answers"]) == (NAME, 4, 1200)
    assert each["cpu_ms"] == pytest.approx(5.0)
    by_model = bill(stores, at + DAY, None, None, "model", Asked())["lines"]
    assert {line["name"]: line["cpu"] for line in by_model} == {NAME: 51.0, "airport_hours": 45.0}
    assert list(slow.findings(figures(stores), users())) == []
    shown = CliRunner().invoke(app, ["cost"])
    assert shown.exit_code == 0, shown.output
    assert "serve, idle" in shown.output
    assert f"{NAME}@4" in " ".join(shown.output.split())
    assert " 5.00 " in shown.output


@pytest.mark.parametrize("use", ["an answer", "a file scored", "a young champion"])
def test_a_model_in_use_is_not_idle(shop: Stores, use: str) -> None:
    now = datetime.now(UTC) + (2 if use == "a young champion" else 14) * DAY
    keep(shop, now - 14 * DAY)
    if use == "an answer":
        answered(shop, now - 6 * DAY)
    if use == "a file scored":
        keep(shop, now - DAY, stage="score")
    assert list(idle.findings(figures(shop), users(), shop, now, Asked())) == []


def test_an_answer_of_long_ago_makes_no_model_busy(shop: Stores) -> None:
    now = datetime.now(UTC) + 30 * DAY
    answered(shop, now - 8 * DAY)
    [found] = idle.findings([], users(), shop, now, Asked())
    assert f"{now - 8 * DAY:%Y-%m-%d %H:%M}" in found.evidence
    assert found.saves is None


def test_a_schedule_whose_trainings_never_win_is_wasteful(shop: Stores) -> None:
    begin = datetime(2026, 3, 1, 6, tzinfo=UTC)
    shop.tracking.tag(NAME, 5, {VERDICT: "INCONCLUSIVE"})
    for number, version in enumerate((3, 4, 5)):
        at = begin + number * DAY
        trained(shop, version, at)
        keep(shop, at, 1.0, stage="plan", run=f"run {version}")
        keep(shop, at + timedelta(minutes=1), 10.0 * version, run=f"run {version}", version=version)
    [found] = schedules.findings(figures(shop), shop, Asked(trainings=2))
    assert "1 FAIL, 1 INCONCLUSIVE" in found.evidence
    assert "versions 4 to 5" in found.evidence
    assert found.saves == pytest.approx(51.0)
    assert "spec.yaml:" in found.remedy
    assert "cool_down" in found.remedy


def test_a_schedule_with_a_winner_an_unjudged_or_too_few_trainings_is_not_wasteful(shop: Stores) -> None:
    begin = datetime(2026, 3, 1, 6, tzinfo=UTC)
    assert list(schedules.findings([], shop, Asked(trainings=2))) == []
    for number, version in enumerate((3, 4, 5)):
        trained(shop, version, begin + number * DAY)
    assert list(schedules.findings([], shop, Asked(trainings=2))) == []  # 5 was not judged, 3 was champion


def test_a_week_apart_no_training_would_have_been_saved(shop: Stores) -> None:
    begin = datetime(2026, 3, 1, 6, tzinfo=UTC)
    shop.tracking.tag(NAME, 5, {VERDICT: "INCONCLUSIVE"})
    for number, version in enumerate((4, 5)):
        trained(shop, version, begin + number * 7 * DAY)
    [found] = schedules.findings([], shop, Asked(trainings=2))
    assert "the 0 that were measured" in found.evidence
    assert found.saves is None
    assert "once a month" in found.remedy


def test_stages_that_wait_or_import_are_named_and_busy_ones_are_not(stores: Stores) -> None:
    begin = datetime(2026, 3, 1, 6, tzinfo=UTC)
    for number in range(3):
        keep(stores, begin + number * DAY, 1.0, stage="report", wall=20.0)
        keep(stores, begin + number * DAY, 9.0, stage="monitor", wall=9.5, imported=3000)
        keep(stores, begin + number * DAY, 2.0, stage="monitor", wall=2.5)
        keep(stores, begin + number * DAY, 30.0, stage="train", wall=31.0)
    found = {each.kind: each for each in slow.findings(figures(stores), users())}
    assert set(found) == {slow.WAITS, slow.IMPORTS}
    assert found[slow.WAITS].evidence.startswith("report flight_delays: 3 runs since 2026-03-01")
    assert found[slow.IMPORTS].saves == pytest.approx(21.0)


def test_money_is_named_only_at_a_price(stores: Stores) -> None:
    keep(stores, datetime.now(UTC), 7200.0)
    free = bill(stores, datetime.now(UTC), None, None, "stage", Asked())
    assert (free["lines"][0]["money"], free["price"]) == (None, None)
    priced = Stores(stores.settings.model_copy(update={"cost_per_cpu_hour": 0.05, "cost_currency": "EUR"}))
    dear = bill(priced, datetime.now(UTC), None, None, "stage", Asked())
    assert dear["lines"][0]["money"] == pytest.approx(0.1)
    assert dear["price"] == "0.05 EUR an hour of one processor"


@pytest.mark.parametrize("by", ["stage", "model", "run", "day"])
def test_the_command_tells_the_same_as_its_json(stores: Stores, by: str) -> None:
    keep(stores, datetime.now(UTC), 12.0, kind=DATASET, subject="departures", stage="ingest")
    keep(stores, datetime.now(UTC), 8.0, outcome=NOTHING)
    said = CliRunner().invoke(app, ["cost", NAME, "--by", by, "--json"])
    assert said.exit_code == 0, said.output
    found = json.loads(said.output)
    assert sum(line["cpu"] for line in found["lines"]) == pytest.approx(14.0)
    shown = CliRunner().invoke(app, ["cost", NAME, "--by", by])
    assert shown.exit_code == 0, shown.output
    assert "divided equally" in " ".join(shown.output.split())


def test_a_link_and_a_file_that_is_gone_are_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1000)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b").write_bytes(b"x" * 500)
    assert size(tmp_path) == 1500
    assert size(tmp_path / "nowhere") == 0


def test_what_lies_at_an_address_is_said_not_to_be_counted(stores: Stores) -> None:
    far = Stores(stores.settings.model_copy(update={"lake": "s3://bucket/lake"}))
    rows = [row for row in storage(far) if row["what"] == "features"]
    assert rows
    assert all(row["bytes"] is None and "not counted" in row["note"] for row in rows)
