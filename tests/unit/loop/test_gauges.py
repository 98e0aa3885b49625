"""Rules of the loop's numbers: they are what the records say, and what cannot be read is told and stops nothing."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipelines import catalog
from pipelines.contracts import BatchState, Cause, IngestResult, Signal
from pipelines.loop.gauges.collector import Loop
from pipelines.loop.gauges.names import NUMBERS
from pipelines.loop.gauges.server import server
from pipelines.stores import Stores
from pipelines.stores.feature_store.views import Views
from pipelines.stores.ledger import Ledger
from pipelines.stores.signals import Training

NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MODEL = "flight_delays"


@pytest.fixture
def loop(stores: Stores) -> Loop:
    return Loop(stores)


def told(loop: Loop) -> dict[tuple[str, ...], float]:
    """Every value by its name, without `evergreen_`, and the values of its labels in order of their names."""
    families = text_string_to_metric_families(loop.shown().decode())
    samples = [sample for family in families for sample in family.samples]
    return {
        (s.name.removeprefix("evergreen_"), *map(s.labels.get, sorted(s.labels))): s.value for s in samples
    }


def land(
    stores: Stores, name: str, known: datetime, state: BatchState = BatchState.COMMITTED, **rows: int
) -> None:
    times = {"first_known": known - HOUR, "last_known": known} if rows.get("silver") else {}
    digest = name.ljust(64, "0")
    stores.ledger.record(
        IngestResult(digest, "flights", f"{name}.csv", state, sum(rows.values()), **rows, **times)
    )


def report(stores: Stores, model: str, text: str) -> None:
    path = stores.settings.home / "reports" / "monitor" / model / "latest.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def errors(found: dict[tuple[str, ...], float]) -> set[str]:
    return {key[1] for key, value in found.items() if key[0] == "scrape_error" and value}


def test_before_anything_happened_every_number_has_its_help_and_nothing_is_wrong(loop: Loop) -> None:
    text, found = loop.shown().decode(), told(loop)
    for name, number in NUMBERS.items():
        assert f"# HELP evergreen_{name}{'_total' if number.counter else ''} {number.text}\n" in text
    assert errors(found) == set()
    assert found["dataset_files", "flights", "refused"] == 0
    assert found["model_champion_version", MODEL] == 0


def test_rows_and_files_are_counted_by_where_they_are(stores: Stores, loop: Loop) -> None:
    land(stores, "a", NOW, silver=90, quarantined=10)
    land(stores, "b", NOW - HOUR, silver=50, superseded=3)
    land(stores, "c", NOW, BatchState.REFUSED)
    found = told(loop)
    rows = {
        place: found["dataset_rows", "flights", place] for place in ("silver", "quarantined", "superseded")
    }
    assert rows == {"silver": 140, "quarantined": 10, "superseded": 3}
    assert [found["dataset_files", "flights", s] for s in ("committed", "refused", "seen")] == [2, 1, 0]
    assert found["dataset_newest_timestamp_seconds", "flights"] == NOW.timestamp()
    assert found["dataset_arrived_timestamp_seconds", "flights"] > NOW.timestamp()


def test_only_data_that_grows_and_that_a_model_waits_for_has_a_patience(loop: Loop) -> None:
    waited = {key[1] for key in told(loop) if key[0] == "dataset_patience_seconds"}
    growing = {name for name, spec in catalog.datasets().items() if not spec.reference}
    assert waited
    assert waited == {name for name in growing if catalog.models_on(name)}


def test_a_view_is_behind_by_what_its_own_datasets_have_more(stores: Stores, loop: Loop) -> None:
    made = Views(stores.settings.database).register("late", "d", "select * from flights", "{}")
    assert made.sources == {"flights"}
    stores.progress.mark(made.consumer, [], NOW - 3 * HOUR)
    land(stores, "a", NOW, silver=1)
    found = told(loop)
    assert found["view_behind_seconds", "1", "late"] == 3 * 3600


def test_trainings_are_counted_by_how_far_they_came(stores: Stores, loop: Loop) -> None:
    for n, (began, ended) in enumerate([(True, True), (True, False), (False, False)]):
        at = NOW + n * HOUR
        stores.signals.plan(Training(MODEL, at.isoformat(), at, at, "code", {}))
        if began:
            stores.signals.begin(MODEL, at.isoformat(), at)
        if ended:
            stores.signals.end(MODEL, at.isoformat(), 1, at + HOUR / 2)
    found = told(loop)
    assert [found["trainings_total", MODEL, step] for step in ("planned", "began", "ended")] == [3, 2, 1]
    assert found["trainings_open", MODEL] == 1 == len(stores.signals.unfinished(MODEL))
    assert found["training_ended_timestamp_seconds", MODEL] == (NOW + HOUR / 2).timestamp()


def test_open_signals_are_those_that_no_training_answers(stores: Stores, loop: Loop) -> None:
    stores.signals.record(Signal(MODEL, 1, NOW, Cause.DRIFT, "it moved", NOW))
    assert told(loop)["signals_open", "drift", MODEL] == len(stores.signals.pending(MODEL)) == 1
    at = NOW + HOUR
    stores.signals.plan(Training(MODEL, "k", at, at, "code", {}))
    stores.signals.begin(MODEL, "k", at)
    assert told(loop)["signals_open", "drift", MODEL] == 1
    stores.signals.end(MODEL, "k", 2, at)
    assert told(loop)["signals_open", "drift", MODEL] == len(stores.signals.pending(MODEL)) == 0


def test_verdicts_and_champions_are_counted_on_from_where_the_last_scrape_came_to(
    stores: Stores, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judged(version: int, decision: str) -> None:
        said = {"decision": decision}
        stores.audit.append(NOW, "w", "gate", f"model:{MODEL}@{version}", "", said)

    judged(1, "PASS")
    stores.audit.append(NOW, "w", "promote", f"champion:{MODEL}", "", {"champion": 1})
    assert told(loop)["model_verdicts_total", MODEL, "PASS"] == 1
    judged(2, "FAIL")
    read = list[int]()
    decisions = loop._totals.decisions
    monkeypatch.setattr(
        loop._totals, "decisions", lambda *a: [read.append(e.number) or e for e in decisions(*a)]
    )
    found = told(loop)
    assert read == [3]
    assert [found["model_verdicts_total", MODEL, v] for v in ("PASS", "FAIL", "INCONCLUSIVE")] == [1, 1, 0]
    assert [found["model_last_verdict", MODEL, v] for v in ("PASS", "FAIL")] == [0, 1]
    assert found["model_champion_since_timestamp_seconds", MODEL, "1"] == NOW.timestamp()
    assert found["model_moves_total", "promote", MODEL] == 1


def test_drift_and_decay_are_what_the_last_report_says(stores: Stores, loop: Loop) -> None:
    said = {"version": 3, "drift_share": 0.4, "drifted": False, "decayed": True}
    report(stores, MODEL, json.dumps(said))
    found = told(loop)
    assert [found[name, MODEL, "3"] for name in ("drift_share", "drifted", "decayed")] == [0.4, 0, 1]
    assert found["drift_threshold", MODEL] == catalog.model(MODEL).monitor.drift_share


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"version": "x", "drift_share": 1}', "null", "\udcff"])
def test_a_broken_report_hides_nothing_but_itself(stores: Stores, loop: Loop, text: str) -> None:
    report(
        stores,
        "card_fraud",
        json.dumps({"version": 1, "drift_share": 0.1, "drifted": False, "decayed": False}),
    )
    path = stores.settings.home / "reports" / "monitor" / MODEL / "latest.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    found = told(loop)
    assert errors(found) == {f"monitor of {MODEL}"}
    assert ("drift_share", MODEL, "1") not in found
    assert found["drift_share", "card_fraud", "1"] == 0.1


def test_a_store_that_cannot_be_read_is_said_and_is_never_drift(
    stores: Stores, loop: Loop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*_: Any) -> None:
        raise ConnectionError("postgresql://ada:hush@db is gone")

    report(stores, MODEL, json.dumps({"version": 3, "drift_share": 0.4, "drifted": False, "decayed": False}))
    monkeypatch.setattr(loop._totals, "_rows", gone)
    found = told(loop)
    assert {"datasets", "views", "trainings", "signals", "answers", "decisions"} == errors(found)
    assert not [key for key in found if key[0].startswith(("dataset_rows", "trainings", "signals"))]
    assert found["drift_share", MODEL, "3"] == 0.4
    assert found["drifted", MODEL, "3"] == 0
    assert "hush" not in caplog.text


def test_reading_many_files_costs_a_statement_not_a_row_each(stores: Stores, loop: Loop) -> None:
    statements = list[str]()
    rows = loop._totals._rows
    loop._totals._rows = lambda query: statements.append(str(query)) or rows(query)  # type: ignore[method-assign]
    told(loop)
    few = len(statements)
    for n in range(50):
        land(stores, f"f{n}", NOW, silver=1)
    statements.clear()
    told(loop)
    assert few > 5
    assert len(statements) == few


@pytest.fixture(params=["127.0.0.1", "::1"])
def address(loop: Loop, request: pytest.FixtureRequest) -> Iterator[str]:
    host = request.param
    try:
        made = server(host, 0, loop.shown)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://{f'[{host}]' if ':' in host else host}:{made.server_address[1]}"
    made.shutdown()
    made.server_close()


def test_the_numbers_are_served_to_get_and_head_alone(address: str) -> None:
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert b"evergreen_model_champion_version" in answer.read()
    with urllib.request.urlopen(urllib.request.Request(f"{address}/metrics", method="HEAD")) as answer:
        assert (answer.status, answer.read()) == (200, b"")
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(urllib.request.Request(f"{address}/metrics", b"x", method=method))
        assert (caught.value.code, caught.value.headers["Allow"]) == (405, "GET, HEAD")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{address}/../../etc/passwd")


def test_the_command_prints_what_would_be_served(stores: Stores, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from pipelines.cli import app

    Ledger(stores.settings.database)
    done = CliRunner().invoke(app, ["metrics"])
    assert done.exit_code == 0, done.output
    assert list(text_string_to_metric_families(done.stdout))
    assert errors(told(Loop(stores))) == set()


def test_a_port_that_is_taken_is_said_with_the_remedy(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from pipelines.cli import app

    host, _, port = address.removeprefix("http://").rpartition(":")
    monkeypatch.setenv("EVERGREEN_METRICS_PORT", port)
    monkeypatch.setenv("EVERGREEN_HOST", host.strip("[]"))
    done = CliRunner().invoke(app, ["metrics", "--serve"])
    assert (done.exit_code, "EVERGREEN_METRICS_PORT" in done.stderr) == (1, True)
