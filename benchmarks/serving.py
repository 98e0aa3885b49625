"""How many questions serving answers a second, and how long each takes: another commit, this checkout, the stock ways.

All have the champion of one home, such as `make run` leaves. The other commit's server runs in this environment, on its
own files. The bare FastAPI answers with the same Pipeline and a row that was made before: no features, no log. The
stock pair is Feast's feature server and `mlflow models serve`. A closed loop asks each in turn over so many
connections; before that the answers of ours and of the other commit to recent questions are compared, and must be
equal to the bit. Last a file of questions is scored, as `evergreen score` does.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.open_loop import offer, quantile
from benchmarks.servers import Connection, One, checkout, started
from benchmarks.stock_pair import pair
from pipelines import catalog
from pipelines.cli.tour import newest
from pipelines.settings import PROJECT, Settings
from pipelines.stores import Stores

QUESTIONS, ROWS = 50, 10_000
BARE, PAIR, TWO = "bare FastAPI", "MLflow + Feast servers", "ours, 2 processes"
Connect = Callable[[], Awaitable[Any]]
"""Opens what asks a server: `ask` a question, `close` it."""


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


async def asked(connect: Connect, questions: list[bytes], connections: int, seconds: float) -> list[float]:
    """The seconds of each answer in a closed loop; anything but a 200 is an error."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def one(start: int) -> None:
        asker, number = await connect(), start
        while time.perf_counter() < end:
            begun = time.perf_counter()
            await asker.ask(questions[number % len(questions)])
            took.append(time.perf_counter() - begun)
            number += 1
        asker.close()

    await asyncio.gather(*(one(7 * n) for n in range(connections)))
    return sorted(took)


async def answers(connect: Connect, questions: list[bytes]) -> list[dict[str, Any]]:
    """What each question is answered."""
    asker = await connect()
    found = [await asker.ask(question) for question in questions]
    asker.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=PROJECT / "var", help="a home with a champion")
    parser.add_argument("--model", default=catalog.REFERENCE)
    parser.add_argument("--base", default="c57b43e", help="the other commit")
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
        base, path = checkout(given.base, folder / "base"), f"/v1/models/{given.model}"
        commands = {
            given.base: (ours, base, 1),
            "ours": (ours, PROJECT, 1),
            TWO: (ours, PROJECT, 2),
            BARE: (stock, PROJECT, 1),
        }
        ports = {
            name: stack.enter_context(
                started(command, place, home, folder / f"{number}.log", path, many, "version")
            )
            for number, (name, (command, place, many)) in enumerate(commands.items())
        }
        servers = {name: _to(port, f"{path}/predictions") for name, port in ports.items()}
        servers[PAIR] = stack.enter_context(pair(given.model, home, folder))
        console.print(alike(servers, given.base, questions))
        closed, capacity = table(servers, given, questions)
        console.print(closed)
        console.print(offered(ports["ours"], f"{path}/predictions", given.seconds, questions, capacity))
        single = asyncio.run(asked(servers["ours"], questions, 1, given.seconds))
        console.print(batch(given.model, home, folder, questions, len(single) / given.seconds))


def _to(port: int, path: str) -> Connect:
    async def connect() -> One:
        return One(await Connection.to(port), path)

    return connect


def alike(servers: dict[str, Connect], base: str, questions: list[bytes]) -> str:
    """That ours answers as the other commit does, or the benchmark ends; and how far the stock pair is from it."""
    said = {
        name: [each["probability"] for each in asyncio.run(answers(servers[name], questions))]
        for name in (base, "ours", TWO, PAIR)
    }
    if not said[base] == said["ours"] == said[TWO]:
        raise SystemExit("the two commits answer differently")
    away = [abs(one - other) for one, other in zip(said["ours"], said[PAIR], strict=True)]
    same = sum(each == 0 for each in away)
    return (
        f"{len(questions)} questions are answered alike, to the bit, by {base} and ours; {PAIR}: {same} alike,"
        f" the furthest {max(away):.2g} away (it looks at no feature's age)."
    )


def offered(port: int, path: str, seconds: float, questions: list[bytes], capacity: float) -> Table:
    """Ours in an open loop: questions come whether it keeps up or not, at 70% and at 5 times what it can."""
    found = Table(title="ours, open loop")
    headings = ("offered/s", "of capacity", "answers/s", "refused", "failed", "p50 ms", "p99 ms", "p99.9 ms")
    for heading in headings:
        found.add_column(heading, justify="right")
    for share in (0.7, 5.0):
        seen = asyncio.run(offer(port, path, questions, share * capacity, seconds))
        times = [f"{1000 * quantile(seen.took, q):.0f}" for q in (0.5, 0.99, 0.999)]
        sent, counts = f"{seen.sent / seconds:.0f}", (str(seen.refused), str(seen.failed))
        found.add_row(sent, f"{share:.1f}x", f"{len(seen.took) / seconds:.1f}", *counts, *times)
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


def table(
    servers: dict[str, Connect], given: argparse.Namespace, questions: list[bytes]
) -> tuple[Table, float]:
    """Each server in a closed loop, and the most answers a second that ours gave."""
    found = Table(title=f"{given.model}, closed loop, {given.seconds:.0f} s each")
    for heading in ("connections", "server", "answers/s", "p50 ms", "p99 ms", "ours to it"):
        found.add_column(heading, justify="left" if heading == "server" else "right")
    most = 0.0
    for connections in given.connections:
        took = {
            name: asyncio.run(asked(connect, questions, connections, given.seconds))
            for name, connect in servers.items()
        }
        for name, times in took.items():
            p50, p99 = (f"{1000 * quantile(times, share):.0f}" for share in (0.5, 0.99))
            ratio = f"{len(took['ours']) / len(times):.1f}x"
            rate = f"{len(times) / given.seconds:.1f}"
            found.add_row(str(connections), name, rate, p50, p99, "" if name == "ours" else ratio)
        most = max(most, len(took["ours"]) / given.seconds)
    return found, most


if __name__ == "__main__":
    main()
