"""How many questions serving answers a second, and how long each takes: another commit, this checkout, a bare FastAPI.

All three have the champion of one home, such as `make run` leaves. The other commit's server runs in this environment,
on its own files. The bare one answers with the same Pipeline and a row that was made before: no features, no log. A
closed loop asks each in turn over so many connections; before that the answers of ours and of the other commit to
recent questions are compared, and must be equal to the bit. Last a file of questions is scored, as `evergreen score`
does.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.loop_sides import free_port
from benchmarks.open_loop import exchange, offer, quantile
from pipelines import catalog
from pipelines.cli.tour import newest
from pipelines.settings import PROJECT, Settings
from pipelines.stores import Stores

START_SECONDS = 120.0
QUESTIONS, ROWS = 50, 10_000
BARE = "bare FastAPI"


def checkout(commit: str, folder: Path) -> Path:
    """The files of a commit."""
    packed = subprocess.run(["git", "archive", commit], cwd=PROJECT, capture_output=True, check=False)
    if packed.returncode:
        raise SystemExit(f"{commit} is not in this clone; fetch its history, or name another with --base")
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@contextmanager
def serving(command: list[str], folder: Path, home: Path, model: str, log: Path) -> Iterator[int]:
    """The port of a server that has its champion loaded."""
    port = free_port()
    own = {"EVERGREEN_HOME": str(home), "EVERGREEN_SERVING_PORT": str(port), "PYTHONPATH": str(folder)}
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=folder, env={**os.environ, **own}, stdout=out, stderr=out
        )
    try:
        ready(port, model, process, log)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def ready(port: int, model: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models/{model}", timeout=2) as reply:
                if json.load(reply)["version"]:
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"no champion of {model} answers; the end of its log:\n{log.read_text()[-2000:]}")


def bare(model: str) -> None:
    """What anybody writes first: the Pipeline behind one route."""
    import uvicorn
    from fastapi import FastAPI

    from pipelines.serving.metrics import Metrics
    from pipelines.serving.predictor import Predictor
    from pipelines.serving.served import rows

    settings, spec = Settings(), catalog.model(model)
    stores = Stores(settings)
    predictor = Predictor(spec, stores.tracking, stores.features, Metrics())
    predictor.follow()
    served = predictor.champion()
    asked = predictor.request_model.model_validate(newest(spec, stores, 1)[0]).model_dump()
    row = rows(spec, [(asked, *predictor.features(served, [asked]))], served.pipeline)
    ask = getattr(served.pipeline, "predict_proba", served.pipeline.predict)
    app = FastAPI()

    @app.get("/v1/models/{name}")
    def known(name: str) -> dict[str, int]:
        return {"version": served.version}

    @app.post("/v1/models/{name}/predictions")
    def predict(name: str, question: dict[str, Any]) -> dict[str, Any]:
        return {"said": ask(row)[0].tolist()}

    uvicorn.run(app, host="127.0.0.1", port=settings.serving_port, log_level="warning")


async def asked(
    port: int, model: str, questions: list[bytes], connections: int, seconds: float
) -> list[float]:
    """The seconds of each answer in a closed loop; anything but a 200 is an error."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def one(start: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        number = start
        while time.perf_counter() < end:
            begun = time.perf_counter()
            await answer(reader, writer, model, questions[number % len(questions)])
            took.append(time.perf_counter() - begun)
            number += 1
        writer.close()

    await asyncio.gather(*(one(7 * n) for n in range(connections)))
    return sorted(took)


async def answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, model: str, question: bytes
) -> dict[str, Any]:
    """What a question is answered; anything but a 200 ends the benchmark."""
    status, body = await exchange(reader, writer, model, question)
    if status != 200:
        raise SystemExit(f"a question was not answered: {body.decode()}")
    return dict(json.loads(body))


async def answers(port: int, model: str, questions: list[bytes]) -> list[dict[str, Any]]:
    """What each question is answered, without what is new each time or since the other commit."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = [await answer(reader, writer, model, question) for question in questions]
    writer.close()
    new = ("prediction_id", "arm")
    return [{name: value for name, value in each.items() if name not in new} for each in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=PROJECT / "var", help="a home with a champion")
    parser.add_argument("--model", default=catalog.REFERENCE)
    parser.add_argument("--base", default="c285198", help="the other commit")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.bare:
        return bare(given.model)
    compare(given)


def compare(given: argparse.Namespace) -> None:
    console, home = Console(), given.home.absolute()
    stores = Stores(Settings(_env_file=None, home=home))
    questions = [json.dumps(q).encode() for q in newest(catalog.model(given.model), stores, QUESTIONS)]
    if not questions:
        raise SystemExit(
            f"{home} holds nothing to ask about; `make run` fills var, or name another with --home"
        )
    ours, stock = ["-m", "pipelines.serving"], ["-m", "benchmarks.serving", "--bare", "--model", given.model]
    with TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        (folder / "base").mkdir()
        base = checkout(given.base, folder / "base")
        commands = {given.base: (ours, base), "ours": (ours, PROJECT), BARE: (stock, PROJECT)}
        ports = {
            name: stack.enter_context(serving(command, place, home, given.model, folder / f"{number}.log"))
            for number, (name, (command, place)) in enumerate(commands.items())
        }
        if asyncio.run(answers(ports[given.base], given.model, questions)) != asyncio.run(
            answers(ports["ours"], given.model, questions)
        ):
            raise SystemExit("the two commits answer differently")
        console.print(f"{len(questions)} questions are answered alike, to the bit.")
        closed, capacity = table(ports, given, questions)
        console.print(closed)
        console.print(offered(ports["ours"], given, questions, capacity))
        single = asyncio.run(asked(ports["ours"], given.model, questions, 1, given.seconds))
        console.print(batch(given.model, home, folder, questions, len(single) / given.seconds))


def offered(port: int, given: argparse.Namespace, questions: list[bytes], capacity: float) -> Table:
    """Ours in an open loop: questions come whether it keeps up or not, at 70% and at 5 times what it can."""
    found = Table(title="ours, open loop")
    headings = ("offered/s", "of capacity", "answers/s", "refused", "failed", "p50 ms", "p99 ms", "p99.9 ms")
    for heading in headings:
        found.add_column(heading, justify="right")
    for share in (0.7, 5.0):
        seen = asyncio.run(offer(port, given.model, questions, share * capacity, given.seconds))
        times = [f"{1000 * quantile(seen.took, q):.0f}" for q in (0.5, 0.99, 0.999)]
        sent, counts = f"{seen.sent / given.seconds:.0f}", (str(seen.refused), str(seen.failed))
        found.add_row(sent, f"{share:.1f}x", f"{len(seen.took) / given.seconds:.1f}", *counts, *times)
    return found


def batch(model: str, home: Path, folder: Path, questions: list[bytes], single: float) -> str:
    """A file of ROWS questions scored in this process, beside what one connection gets answered one by one."""
    import pandas as pd

    from pipelines.serving.tables.scoring import score

    stores = Stores(Settings(_env_file=None, home=home, lake=str(folder / "lake")))
    rows = [{**each["entities"], **each["request"]} for each in map(json.loads, questions)]
    many = [rows[number % len(rows)] for number in range(ROWS)]
    for name, some in (("warm", rows), ("many", many)):
        pd.DataFrame(some).to_parquet(folder / f"{name}.parquet")
        begun = time.perf_counter()
        done = score(catalog.model(model), folder / f"{name}.parquet", stores, datetime.now(UTC))
        took = time.perf_counter() - begun
        assert done.answered == len(some)
    rate = ROWS / took
    return f"{ROWS:,} rows of a file: {rate:,.0f} a second, {rate / single:.0f} times the answers of one connection"


def table(ports: dict[str, int], given: argparse.Namespace, questions: list[bytes]) -> tuple[Table, float]:
    """Each server in a closed loop, and how many answers a second ours gave at the last number of connections."""
    found = Table(title=f"{given.model}, closed loop, {given.seconds:.0f} s each")
    for heading in ("connections", "server", "answers/s", "p50 ms", "p99 ms", "ours to it"):
        found.add_column(heading, justify="left" if heading == "server" else "right")
    for connections in given.connections:
        took = {
            name: asyncio.run(asked(port, given.model, questions, connections, given.seconds))
            for name, port in ports.items()
        }
        for name, times in took.items():
            p50, p99 = (f"{1000 * quantile(times, share):.0f}" for share in (0.5, 0.99))
            ratio = f"{len(took['ours']) / len(times):.1f}x"
            rate = f"{len(times) / given.seconds:.1f}"
            found.add_row(str(connections), name, rate, p50, p99, "" if name == "ours" else ratio)
    return found, len(took["ours"]) / given.seconds


if __name__ == "__main__":
    main()
