"""What is told of files, features, models and decisions; machinery that fails is never told as drift."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from pipelines import catalog
from pipelines.alerting import happened, landed, watched
from pipelines.alerting.alert import Alert, Well
from pipelines.alerting.kinds import Kind, Severity
from pipelines.alerting.telling import heard
from pipelines.cli import app
from pipelines.contracts import Batch, BatchState, DecayFinding, IngestResult, MonitorReport, as_json
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.ingestion.quarantine import discard, find
from pipelines.promotion.promote import override
from pipelines.promotion.rollback import rollback
from pipelines.prove.promotion.world import World
from pipelines.rollout import moves
from pipelines.settings import Settings, settings
from pipelines.stores import Stores
from tests.champions import copied, crowned
from tests.integration.ingestion.test_ingest import DATA, GOOD, SPEC, land
from tests.integration.rollout.test_rollout import PLAN
from tests.logged import logged
from tests.training_sets import frame

NOW = datetime(2013, 4, 2, 6, tzinfo=UTC)
NAME = "flight_delays"


def found(told: Iterable[Alert | Well]) -> tuple[dict[Kind, Alert], set[Kind]]:
    """Alerts by kind, and the kinds that are well."""
    everything = list(told)
    return (
        {each.kind: each for each in everything if isinstance(each, Alert)},
        {each.kind for each in everything if isinstance(each, Well)},
    )


def taken_in(stores: Stores) -> list[dict[str, Any]]:
    return [as_json(result) for result in ingest_dataset(SPEC, stores)]


def opened(stores: Stores) -> list[str]:
    return [kept.key.partition("/")[0] for kept in stores.alerts.listed()]


def test_a_file_without_a_column_is_told_as_its_schema_until_somebody_discards_it(stores: Stores) -> None:
    land(stores, (DATA / "flights_missing_column.csv").read_bytes())
    results = taken_in(stores)
    [alert] = landed.ingested("flights", results, stores)
    assert isinstance(alert, Alert)
    assert (alert.kind, alert.severity, alert.dataset) == (Kind.FILE_SCHEMA, Severity.WARNING, "flights")
    assert "required column missing" in alert.why
    assert alert.look == f"evergreen quarantine show {results[0]['digest'][:12]}"
    heard([alert], stores, NOW)
    heard(landed.ingested("flights", [], stores), stores, NOW + timedelta(hours=1))
    assert opened(stores) == ["file_schema:flights"]
    discard(find(results[0]["digest"][:12], stores), stores, "sent anew")
    heard(landed.ingested("departures", [], stores), stores, NOW + timedelta(hours=2))
    assert opened(stores) == ["file_schema:flights"]
    heard(landed.ingested("flights", [], stores), stores, NOW + timedelta(hours=2))
    assert opened(stores) == []


def test_a_file_that_is_no_table_is_refused_and_one_that_nobody_opens_is_odd(stores: Stores) -> None:
    land(stores, b"")
    alerts, _ = found(landed.ingested("flights", taken_in(stores), stores))
    assert set(alerts) == {Kind.FILE_REFUSED}
    stray = IngestResult("", "flights", "x.csv", BatchState.REFUSED, reason="never opened: a folder")
    alerts, _ = found(landed.ingested("flights", [as_json(stray)], stores))
    assert set(alerts) == {Kind.FILE_ODD}


def test_rows_held_back_are_a_warning_only_where_they_are_more_than_usual(stores: Stores) -> None:
    land(stores, (DATA / "flights_broken_row.csv").read_bytes())
    [first] = landed.ingested("flights", taken_in(stores), stores)
    assert isinstance(first, Alert)
    assert (first.kind, first.severity) == (Kind.ROWS_QUARANTINED, Severity.WARNING)
    assert "rows are held back, of earlier files 0.0% at most" in first.why
    for number in range(landed.ENOUGH):
        digest = f"{number}".rjust(64, "0")
        stores.ledger.see(Batch(digest, "flights", f"{number}.csv", 1))
        usual = IngestResult(digest, "flights", f"{number}.csv", BatchState.COMMITTED, 10, 5, 5)
        stores.ledger.record(usual)
    some = IngestResult("f" * 64, "flights", "f.csv", BatchState.COMMITTED, 10, 6, 4)
    [calm] = [each for each in landed.ingested("flights", [as_json(some)], stores) if isinstance(each, Alert)]
    assert calm.severity is Severity.INFO
    more = IngestResult("f" * 64, "flights", "f.csv", BatchState.COMMITTED, 10, 4, 6)
    [loud] = [each for each in landed.ingested("flights", [as_json(more)], stores) if isinstance(each, Alert)]
    assert loud.severity is Severity.WARNING


def test_a_good_file_is_told_to_nobody(stores: Stores) -> None:
    land(stores, GOOD)
    assert list(landed.ingested("flights", taken_in(stores), stores)) == []


def test_a_file_that_waits_is_told_until_it_is_in(stores: Stores) -> None:
    waits = IngestResult(
        "a" * 64, "flights", "a.csv", BatchState.SEEN, reason="a fault of ours: ValueError: x"
    )
    heard(landed.ingested("flights", [as_json(waits)], stores), stores, NOW)
    assert opened(stores) == ["file_waits:flights"]
    heard(landed.ingested("flights", [], stores), stores, NOW)
    assert opened(stores) == []


def test_a_view_whose_checks_failed_is_told_until_it_is_computed_without(stores: Stores) -> None:
    what = "feature view carrier_delays@v2: 1 of 9 checks failed"
    refused = {"what": what, "why": "x: filled; saw 0", "act": "Yes. The rows were not published."}
    run = {"alerts": [refused], "rows": {"carrier_delays": 3, "aircraft": 2}}
    heard(landed.computed(run, stores), stores, NOW)
    [kept] = stores.alerts.listed()
    assert (kept.key, kept.said["severity"]) == ("features_refused:carrier_delays", "critical")
    heard(landed.computed({"alerts": [], "rows": {"aircraft": 2}}, stores), stores, NOW)
    assert opened(stores) == ["features_refused:carrier_delays"]
    heard(landed.computed({"alerts": [], "rows": {"carrier_delays": 2}}, stores), stores, NOW)
    assert opened(stores) == []


def _known(stores: Stores, dataset: str, at: datetime) -> None:
    digest = f"{dataset}{at:%d%H}".encode().hex().ljust(64, "0")[:64]
    stores.ledger.see(Batch(digest, dataset, "x.csv", 1))
    times = {"first_known": at, "last_known": at}
    stores.ledger.record(IngestResult(digest, dataset, "x.csv", BatchState.COMMITTED, 1, 1, **times))


def test_a_dataset_is_late_beyond_its_models_patience_by_the_datas_own_time(stores: Stores) -> None:
    spec = catalog.model(NAME)
    patience = spec.training.patience
    _known(stores, "weather", NOW)
    _known(stores, "flights", NOW - patience)
    _known(stores, "card_transactions", NOW - timedelta(days=3000))  # another model's years are another's
    alerts, well = found(landed.late(stores))
    assert (alerts, well) == ({}, {Kind.DATASET_LATE})
    _known(stores, "weather", NOW + timedelta(hours=1))
    [late] = [each for each in landed.late(stores) if isinstance(each, Alert)]
    assert (late.subject, late.dataset, late.model, late.since) == (
        "flights",
        "flights",
        NAME,
        NOW - patience,
    )
    heard(landed.late(stores), stores, NOW)
    _known(stores, "flights", NOW)
    heard(landed.late(stores), stores, NOW)
    assert opened(stores) == []


def report(**changed: Any) -> dict[str, Any]:
    calm = MonitorReport(
        model=NAME, as_of=NOW, drifted=False, drift_share=0.0, columns={}, rows_reference=500, rows_current=500,
        metrics={}, html="m.html", json="m.json", version=2, decay=DecayFinding(False, "not decayed"),
        explanation="not drifted: 0% of the columns moved; not decayed",
    )  # fmt: skip
    return dict(as_json(calm)) | changed


def test_drift_decay_and_vanished_inputs_are_told_each_until_a_report_says_otherwise(stores: Stores) -> None:
    moved = report(drifted=True, drift_share=0.5, decayed=True, vanished={"temp": "no value came"})
    alerts, well = found(watched.reported(moved))
    assert set(alerts) == {Kind.DRIFT, Kind.DECAY, Kind.VANISHED}
    assert well == set()
    assert alerts[Kind.DRIFT].what == "50% of the inputs of flight_delays drifted"
    assert (alerts[Kind.VANISHED].why, alerts[Kind.VANISHED].severity) == ("no value came", Severity.CRITICAL)
    assert alerts[Kind.DECAY].since == NOW
    heard(watched.reported(moved), stores, NOW)
    blind = report(explanation="drift is not judged: 3 rows on one side; decay is not judged: no truth came")
    heard(watched.reported(blind), stores, NOW)
    assert sorted(opened(stores)) == ["decay:flight_delays", "drift:flight_delays"]
    heard(watched.reported(report()), stores, NOW)
    assert opened(stores) == []


def test_machinery_that_fails_is_never_told_as_drift_and_ends_no_drift(stores: Stores) -> None:
    """The task fails, and its failure is told; what was open before stays as it was."""
    heard(watched.reported(report(drifted=True)), stores, NOW)

    class Gone:
        def numbers(self, model: str) -> set[int]:
            raise ConnectionError("MLflow is not heard")

    object.__setattr__(stores, "tracking", Gone())
    heard(watched.absent(NAME, stores), stores, NOW)
    assert opened(stores) == ["drift:flight_delays"]


@contextmanager
def serving(status: dict[str, Any] | None) -> Iterator[int]:
    class Route(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404 if status is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(status).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Route) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ({"version": 2, "last_error": None, "loading": None}, Well(Kind.SERVING_BEHIND, NAME)),
        ({"version": 1, "last_error": "the champion cannot be loaded", "loading": None}, Severity.WARNING),
        ({"version": None, "last_error": None, "loading": None}, Severity.CRITICAL),
        ({"version": 1, "last_error": "x", "loading": 2}, None),
        (None, None),
    ],
)
def test_serving_is_behind_where_it_says_so_itself(
    status: dict[str, Any] | None, told: Well | Severity | None, tmp_path: Path
) -> None:
    with serving(status) as port:
        said = list(watched.behind(NAME, 2, Settings(_env_file=None, home=tmp_path, serving_port=port)))
    assert [each.severity if isinstance(each, Alert) else each for each in said] == ([told] if told else [])


def test_a_serving_that_is_not_heard_says_nothing(tmp_path: Path) -> None:
    assert list(watched.behind(NAME, 2, Settings(_env_file=None, home=tmp_path, serving_port=1))) == []


def answered(stores: Stores, many: int, lost: int, at: datetime) -> None:
    rows = frame(many, 0, 1.0).assign(event_timestamp=pd.Timestamp(at))
    logged(stores, rows, 0.5, np.arange(many) < lost)


def test_answers_without_all_features_are_told_until_a_days_answers_have_theirs(stores: Stores) -> None:
    assert list(watched.degraded(NAME, stores, NOW)) == []
    answered(stores, 40, 3, NOW - timedelta(hours=20))
    [alert] = watched.degraded(NAME, stores, NOW)
    assert isinstance(alert, Alert)
    assert (alert.kind, alert.severity) == (Kind.SERVING_DEGRADED, Severity.WARNING)
    assert alert.what == f"8% of the answers of {NAME} were made without all features"
    assert alert.why.startswith("3 of 40 answers since 2013-04-01 06:00 UTC")
    heard(watched.monitored(report(), stores, NOW), stores, NOW)
    assert "serving_degraded:flight_delays" in opened(stores)
    heard(watched.degraded(NAME, stores, NOW + timedelta(days=2)), stores, NOW)
    assert "serving_degraded:flight_delays" in opened(stores), "where nobody asked nothing is over"
    answered(stores, 40, 2, NOW + timedelta(hours=30))
    heard(watched.degraded(NAME, stores, NOW + timedelta(days=2)), stores, NOW)
    assert "serving_degraded:flight_delays" not in opened(stores)


@pytest.mark.parametrize(("many", "lost", "told"), [(19, 19, 0), (20, 2, 1), (20, 1, 1), (3, 0, 1)])
def test_a_few_answers_are_no_outage_and_sound_ones_are_well_however_few(
    many: int, lost: int, told: int, stores: Stores
) -> None:
    answered(stores, many, lost, NOW - timedelta(hours=1))
    answered(stores, 40, 40, NOW - timedelta(hours=25))
    said = list(watched.degraded(NAME, stores, NOW))
    assert len(said) == told
    assert [isinstance(each, Alert) for each in said] == [lost > 0.05 * many] * told


def test_a_promotion_is_told_as_a_new_champion_with_who_and_why(world: World) -> None:
    newest = world.stores.audit.entries(f"champion:{NAME}", limit=happened.NEWEST)
    passed = [e for e in newest if e.action == "promote" and e.evidence["decision"] == "PASS"]
    assert passed
    now = max(each.at for each in newest)
    told = [e for e in happened.decided(NAME, world.stores, now) if e.kind is Kind.CHAMPION_CHANGED]
    assert {each.subject for each in told} == {f"{NAME}#{each.number}" for each in passed}
    for each, entry in zip(sorted(told, key=lambda a: a.subject), passed, strict=True):
        assert each.what == f"{NAME}: version {entry.evidence['champion']} is champion, promoted"
        assert (each.severity, each.why) == (Severity.INFO, f"{entry.why} (by {entry.who})")


def test_a_candidate_that_failed_is_told_with_the_rules_that_it_broke() -> None:
    rules = [
        {"name": "floor roc_auc", "decision": "FAIL", "explanation": "0.5 below 0.6"},
        {"name": "rows", "decision": "PASS", "explanation": "fine"},
    ]
    verdict = {"model": NAME, "version": 4, "decision": "FAIL", "rules": rules, "judged_at": NOW.isoformat()}
    [alert] = happened.judged(verdict)
    assert (alert.kind, alert.why, alert.severity) == (
        Kind.GATE_FAILED,
        "floor roc_auc: 0.5 below 0.6",
        Severity.INFO,
    )
    assert list(happened.judged(verdict | {"decision": "INCONCLUSIVE"})) == []


@pytest.fixture
def world(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    return copied(crowned(tmp_path_factory), tmp_path)


def test_champions_that_come_and_go_are_each_told_once_with_who_and_why(world: World) -> None:
    stores, spec = world.stores, world.spec
    now = datetime.now(UTC)
    assert list(happened.decided(NAME, stores, now + timedelta(days=2))) == []
    heard(happened.decided(NAME, stores, now), stores, now)
    override(spec, 3, stores, datetime.now(UTC), "we must")
    rollback(spec, stores, datetime.now(UTC), "we need not")
    before = {kept.key for kept in stores.alerts.listed(every=True)}
    later = datetime.now(UTC)
    for _ in range(2):
        heard(happened.decided(NAME, stores, later), stores, later)
    new = [kept.said for kept in stores.alerts.listed(every=True) if kept.key not in before]
    told = {(each["kind"], each["severity"]): each for each in new}
    assert set(told) == {("champion_override", "warning"), ("champion_rolled_back", "warning")}
    assert told["champion_override", "warning"]["what"].endswith(
        "version 3 is champion, promoted in spite of its gate"
    )
    assert "we need not (by prove: a person)" in told["champion_rolled_back", "warning"]["why"]
    assert stores.alerts.listed() == []


def test_a_rollout_taken_back_by_a_breach_is_critical_and_by_a_person_a_warning(world: World) -> None:
    spec, stores = world.spec.model_copy(update={"rollout": PLAN}), world.stores
    now = datetime.now(UTC)
    moves.begin(spec, 1, stores, now)
    moves.take_back(spec, stores, now, "complaints")
    alerts, _ = found(happened.decided(NAME, stores, now))
    assert alerts[Kind.ROLLOUT_TAKEN_BACK].severity is Severity.WARNING
    machine = Stores(stores.settings, "airflow: rollout_flight_delays/r")
    moves.begin(spec, 1, machine, now)
    running = moves.current(NAME, machine)
    assert running is not None
    moves.end(spec, running, moves.TAKE_BACK, "errors: too many", machine, now)
    last = [each for each in happened.decided(NAME, machine, now) if each.kind is Kind.ROLLOUT_TAKEN_BACK][-1]
    assert (last.severity, last.why) == (
        Severity.CRITICAL, "errors: too many (by airflow: rollout_flight_delays/r)",
    )  # fmt: skip


def test_a_champion_that_was_deleted_in_mlflow_is_critical(world: World) -> None:
    assert list(watched.absent(NAME, world.stores)) == [Well(Kind.CHAMPION_MISSING, NAME)]
    world.stores.tracking.client.delete_model_version(NAME, "2")
    [alert] = watched.absent(NAME, world.stores)
    assert isinstance(alert, Alert)
    assert (alert.severity, alert.what) == (Severity.CRITICAL, f"{NAME}: the champion is gone from MLflow")
    world.stores.tracking.client.delete_model_version(NAME, "1")


def test_a_command_that_rolls_back_tells_people_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "ada")
    done = CliRunner().invoke(app, ["rollback", NAME, "--reason", "complaints", "--to", "1", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["promoted"]
    assert "ALERT" not in done.stderr
    lines = [json.loads(line) for line in (settings().home / "alerts.jsonl").read_text().splitlines()]
    assert "champion_rolled_back" in {line["kind"] for line in lines}
