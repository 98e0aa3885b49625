"""The real server with two processes: one version at a time, counted together, and nobody left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.request import urlopen

import psutil
import pytest

from pipelines.prove.promotion.world import World
from pipelines.prove.serving import _move
from pipelines.prove.serving.server import Reply, asked, question
from tests.champions import copied, crowned

PATIENCE = 120.0


class Two:
    """A server of two processes."""

    def __init__(self, world: World, port: int) -> None:
        self.world, self.port = world, port
        own = {"EVERGREEN_HOME": str(world.home), "EVERGREEN_SERVING_PORT": str(port),
               "EVERGREEN_SERVING_WORKERS": "2", "EVERGREEN_SERVING_POLL_SECONDS": "0.05"}  # fmt: skip
        self.log = (world.home / "server.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.serving"], env={**os.environ, **own}, stdout=self.log, stderr=self.log
        )  # fmt: skip

    def workers(self) -> list[psutil.Process]:
        """The processes that have a champion loaded."""
        files = self.world.home.glob("serving/workers/*/*.loaded")
        held = {int(file.stem) for file in files if file.read_bytes()}
        return [each for each in psutil.Process(self.process.pid).children() if each.pid in held]

    def ask(self, many: int) -> list[Reply]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda n: asked(self.port, question(n), n), range(many)))

    def versions(self, many: int) -> set[int]:
        """Those that answered some questions, all of which were answered."""
        replies = self.ask(many)
        assert {each.status for each in replies} == {200}, replies
        return {each.body["version"] for each in replies}

    def counted(self) -> float:
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as reply:
            lines = reply.read().decode().splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith("evergreen_requests_total") and 'status="200"' in line
        )


def until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not so():
        assert time.monotonic() < end
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(["true"], check=True, timeout=1)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    import socket

    world = copied(crowned(tmp_path_factory), tmp_path_factory.mktemp("two"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Two(world, port)
    try:
        until(lambda: len(server.workers()) == 2 and asked(port, question(0)).status == 200)
        yield server
    finally:
        if server.process.poll() is None:
            server.process.terminate()
            server.process.wait(PATIENCE)


@pytest.mark.timeout(300)
def test_once_anybody_was_answered_by_the_new_version_nobody_is_by_the_old(two: Two) -> None:
    stores = two.world.stores
    for to in (1, 2, 1, 2):
        assert to not in two.versions(16)
        _move(two.world, stores, to)
        until(lambda to=to: to in two.versions(16))  # type: ignore[misc]
        assert two.versions(32) == {to}


def test_what_both_answer_is_counted_together_also_once_one_has_ended(two: Two) -> None:
    before = two.counted()
    assert [r.status for r in two.ask(40)] == [200] * 40
    assert two.counted() == before + 40
    ended, kept = two.workers()
    ended.kill()
    until(lambda: len({w.pid for w in two.workers()} - {ended.pid}) == 2)
    assert kept.pid in {w.pid for w in two.workers()}
    until(lambda: all(r.status == 200 for r in two.ask(16)))
    assert two.counted() >= before + 40 + 16


def test_processes_end_with_their_keeper_however_it_ends(two: Two) -> None:
    workers = two.workers()
    assert len(workers) == 2
    os.kill(two.process.pid, signal.SIGKILL)
    two.process.wait(PATIENCE)
    gone, left = psutil.wait_procs(workers, PATIENCE)
    assert (len(gone), left) == (2, [])
