"""A standalone Spark cluster of this machine: a master and workers, each a process of its own."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

MISSING = [name for name in ("pyspark", "sqlglot") if importlib.util.find_spec(name) is None]
MISSING += [] if shutil.which("java") else ["Java"]


@dataclass(frozen=True)
class Cluster:
    """`master` is its address; the processes of its workers can be killed."""

    master: str
    workers: list["subprocess.Popen[str]"]


@contextmanager
def standalone(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """A cluster that ends with the block, its executors with it."""
    with ExitStack() as stack:
        head = stack.enter_context(_process("master.Master", folder, "--port", "0"))
        master = _said(head, "Starting Spark master at ").split(" at ")[1].strip()
        hands = []
        for n in range(workers):
            work = ("--cores", "1", "--memory", "1g", "--work-dir", str(folder / str(n)), master)
            hands.append(stack.enter_context(_process("worker.Worker", folder, *work)))
        for hand in hands:
            _said(hand, "Successfully registered with master")
        yield Cluster(master, hands)


@contextmanager
def _process(role: str, folder: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    import pyspark

    spark = Path(pyspark.__file__).parent
    command = [spark / "bin" / "spark-class", f"org.apache.spark.deploy.{role}"]
    on = ["--host", "127.0.0.1", "--webui-port", "0"]
    # Without SPARK_LOCAL_IP the pages of master and workers are on every interface.
    where = {"SPARK_HOME": str(spark), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m"}
    log = folder / f"{role}-{len(list(folder.glob('*.log')))}.log"
    with log.open("w") as to:
        started = subprocess.Popen(
            [*command, *on, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=to,
            stderr=to,
            text=True,
            env=os.environ | where,
        )
    started.log = log  # type: ignore[attr-defined]
    try:
        yield started
    finally:
        started.terminate()
        started.wait(30)


def _said(process: "subprocess.Popen[str]", words: str, seconds: float = 300) -> str:
    """The first line of a process's log that holds these words."""
    import time

    until = time.monotonic() + seconds
    with process.log.open() as log:  # type: ignore[attr-defined]
        while time.monotonic() < until:
            line = log.readline()
            if words in line:
                return line
            if not line:
                assert process.poll() is None, log.name
                time.sleep(0.05)
    raise AssertionError(f"{log.name}: it never said {words!r}")
