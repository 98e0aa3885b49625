"""What serving takes is kept beside the steps' figures, and nobody who asks waits for that, whatever becomes of it."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any
from urllib.request import urlopen

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from pipelines.catalog import models
from pipelines.loop.costs.bill import bill
from pipelines.loop.costs.findings import Asked
from pipelines.prove.serving.server import Server, asked, question
from pipelines.serving.accounts import bookkeeper
from pipelines.serving.app import create_app
from pipelines.serving.workers.processes import Process
from pipelines.serving.workers.turns import Alone
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.watching.costs import MODEL, SERVE, SERVE_IDLE, SERVING, Costs, Figure
from tests.champions import copied, crowned
from tests.integration.serving.worlds import SPEC, FeatureTable, Models, Version, World, wait

YEAR = timedelta(days=365)
BOUND = 2.0
"""Seconds within which every answer leaves, whatever becomes of the figures; each try to keep them waits for 0.2."""


@contextmanager
def serving(stores: Stores, pipeline: Any, kept: Callable[[Sequence[Figure]], None]) -> Iterator[World]:
    known, features = Models(Version(1, "one"), {1: pipeline}), FeatureTable()
    quick = Settings(_env_file=None, home=stores.settings.home, serving_poll_seconds=0.02)
    process = Process(Alone(), kept=kept)
    app = create_app(quick, {SPEC.name: SPEC}, known, features, stores.predictions, process=process)
    with TestClient(app, raise_server_exceptions=False) as client:
        world = World(app, client, known, features, stores)
        wait(lambda: world.serving() == 1)
        yield world


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are kept without a pause."""
    monkeypatch.setattr(bookkeeper, "TOLD", 0.01)
    monkeypatch.setattr(bookkeeper, "EVERY", 0.01)


def figures(costs: Costs, stage: str) -> list[Figure]:
    found = [each for each in costs.between(None, datetime.now(UTC) + YEAR) if each.stage == stage]
    assert all(each.kind == {SERVE: MODEL, SERVE_IDLE: SERVING}[stage] for each in found)
    return found


def rows(costs: Costs) -> int:
    return sum(each.rows or 0 for each in figures(costs, SERVE))


def test_a_locked_database_fails_no_request_delays_none_and_loses_nothing(
    stores: Stores, pipeline: Any, tmp_path: Path, often: None
) -> None:
    costs, tries = Costs(f"sqlite:///{tmp_path / 'costs.db'}"), []

    def kept(found: Sequence[Figure]) -> None:
        tries.append(len(found))
        costs.add_up(found, YEAR)

    with serving(stores, pipeline, kept) as world:
        wait(lambda: bool(figures(costs, SERVE_IDLE)))
        other = sqlite3.connect(tmp_path / "costs.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        before, seconds = len(tries), []
        while len(tries) < before + 3 or len(seconds) < 20:
            begun = time.monotonic()
            assert world.ask().status_code == 200
            seconds.append(time.monotonic() - begun)
        assert max(seconds) < BOUND
        assert rows(costs) == 0
        other.execute("ROLLBACK")
        wait(lambda: rows(costs) == len(seconds))
    assert rows(costs) == len(seconds)
    (figure,) = {(each.subject, each.version) for each in figures(costs, SERVE)}
    assert figure == (SPEC.name, 1)


def test_a_database_that_hangs_is_noticed_by_nobody_and_holds_the_end_up_for_a_moment_alone(
    stores: Stores, pipeline: Any, often: None
) -> None:
    hangs, free = Event(), Event()

    def kept(_: Sequence[Figure]) -> None:
        hangs.set()
        free.wait()

    with serving(stores, pipeline, kept) as world:
        assert hangs.wait(30)
        assert [world.ask().status_code for _ in range(20)] == [200] * 20
        ends = time.monotonic()
    assert time.monotonic() - ends < bookkeeper.LAST + BOUND
    free.set()


def test_a_process_that_nobody_asks_has_idle_seconds_and_no_answers(
    stores: Stores, pipeline: Any, tmp_path: Path
) -> None:
    costs = Costs(f"sqlite:///{tmp_path / 'costs.db'}")
    with serving(stores, pipeline, lambda found: costs.add_up(found, YEAR)):
        pass
    assert figures(costs, SERVE) == []
    [idle] = figures(costs, SERVE_IDLE)
    assert idle.cpu > 0
    assert idle.wall > 0
    assert (idle.runs, set(idle.parts)) == (0, {SPEC.name})


def test_a_request_about_some_rows_is_one_run_and_as_many_answers_and_a_refused_one_is_none(
    stores: Stores, pipeline: Any, tmp_path: Path
) -> None:
    costs = Costs(f"sqlite:///{tmp_path / 'costs.db'}")
    with serving(stores, pipeline, lambda found: costs.add_up(found, YEAR)) as world:
        body = question(0)
        record = {**body["entities"], **body["request"]}
        invoked = world.client.post(
            f"/v1/models/{SPEC.name}/invocations", json={"dataframe_records": [record] * 3}
        )
        assert invoked.status_code == 200, invoked.text
        assert world.ask(distance="far").status_code == 422
        assert world.ask().status_code == 200
    [answered] = figures(costs, SERVE)
    assert (answered.runs, answered.rows) == (2, 4)
    assert answered.cpu > 0
    assert answered.wall > 0


def used(pid: int) -> float:
    """Processor seconds of a process and all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def told(port: int) -> dict[str, float]:
    """Every series without regard to labels, of whichever process is asked."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as reply:
        families = list(text_string_to_metric_families(reply.read().decode()))
    found: dict[str, float] = {}
    for sample in (each for family in families for each in family.samples):
        found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def life(server: Server, many: int) -> float:
    """One life of a server, in which so many more are answered: what its processes used, at least."""
    server.start()
    pids = server.loaded()
    assert len(pids) == server.workers == 2
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda n: asked(server.port, question(n)), range(many)))
    assert {reply.status for reply in replies} == {200}
    wait(lambda: told(server.port)["evergreen_answer_cpu_seconds_total"] > 0)
    assert told(server.port)["evergreen_resident_memory_bytes"] > 2 * 50e6
    before = sum(map(used, pids))
    server.stop()
    return before


@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="the system does not tell what another process used"
)
@pytest.mark.timeout(600)
def test_what_two_processes_take_adds_up_and_a_new_start_adds_to_it(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    world = copied(crowned(tmp_path_factory), tmp_path / "home")
    server, costs = Server(world.home, workers=2), world.stores.costs
    seen, answers = 0.0, partial(world.stores.predictions.count, world.spec.name)
    for many in (24, 12):
        before = answers()
        seen += life(server, many)
        assert answers() >= before + many
        found = [*figures(costs, SERVE), *figures(costs, SERVE_IDLE)]
        assert rows(costs) == sum(each.runs for each in figures(costs, SERVE)) == answers()
        assert seen <= sum(each.cpu for each in found) <= 1.5 * seen + 2  # and what their end took
    assert len(found) <= 4, "a row of each hour, not of each process; the hour may end meanwhile"
    assert {each.version for each in figures(costs, SERVE)} == {2}
    assert all(set(each.parts) == set(models()) for each in figures(costs, SERVE_IDLE))
    told_of = bill(world.stores, datetime.now(UTC), world.spec.name, None, "stage", Asked())
    assert {SERVE, SERVE_IDLE} <= {line["name"] for line in told_of["lines"]}
    assert [each["answers"] for each in told_of["answers"]] == [answers()]
