"""The real server with two processes: one version at a time, counted together, and nobody left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

from pipelines.processes import born
from pipelines.prove import serving
from pipelines.prove.promotion.world import World
from pipelines.prove.serving.server import Crew, Reply, Server, asked, question
from tests.champions import copied, crowned


@dataclass
class Two:
    """A server of two processes, and those who ask it."""

    world: World
    server: Server

    def ask(self, many: int) -> list[Reply]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda n: asked(self.server.port, question(n)), range(many)))

    def counted(self) -> float:
        """Good answers, by the metrics of whichever process is asked."""
        with urlopen(f"http://127.0.0.1:{self.server.port}/metrics", timeout=30) as reply:
            lines = reply.read().decode().splitlines()
        good = [
            line for line in lines if line.startswith("evergreen_requests_total") and 'status="200"' in line
        ]
        assert good
        return sum(float(line.rsplit(" ", 1)[1]) for line in good)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    world = copied(crowned(tmp_path_factory), tmp_path_factory.mktemp("two"))
    with serving._served(Server(world.home, workers=2)) as server:
        yield Two(world, server)


@pytest.mark.timeout(300)
def test_once_anybody_was_answered_by_the_new_version_nobody_is_by_the_old(two: Two) -> None:
    row, failures = serving._moved(two.world, two.server, 4, 0.7, lambda _: None)
    assert row["asked"] > 20
    assert failures == []


def test_what_both_answer_is_counted_together_also_once_one_has_ended(two: Two) -> None:
    before = two.counted()
    assert [reply.status for reply in two.ask(40)] == [200] * 40
    assert two.counted() == before + 40
    ended, kept = two.server.loaded()
    os.kill(ended, signal.SIGKILL)
    assert serving._until(lambda: len({*two.server.loaded()} - {ended}) == 2)
    assert kept in two.server.loaded()
    assert [reply.status for reply in two.ask(16)] == [200] * 16
    assert two.counted() >= before + 40 + 16


def test_processes_end_with_their_keeper_however_it_ends(two: Two) -> None:
    workers = two.server.loaded()
    assert len(workers) == 2
    assert isinstance(two.server.process, Crew)
    two.server.process.kill()
    assert serving._until(lambda: all(born(pid) is None for pid in workers))


def test_what_is_amiss_is_told_once_and_no_process_is_begun_for_it(tmp_path: Path) -> None:
    own = {"EVERGREEN_HOME": str(tmp_path), "EVERGREEN_SERVING_WORKERS": "2", "EVERGREEN_SERVING_PORT": "0"}
    broken = {
        "EVERGREEN_SERVING_TLS_CERT": str(tmp_path / "no"),
        "EVERGREEN_SERVING_TLS_KEY": str(tmp_path / "no"),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "pipelines.serving"], env={**os.environ, **own, **broken}, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "EVERGREEN_SERVING_TLS" in ended.stderr
    assert "Traceback" not in ended.stderr
