"""How long a person waits for a command of `evergreen`: wall-clock and processor time from start to end, medians.

Each command runs N times in a copy of a home that has a champion, in turn with those of another checkout's
`evergreen` if `--against` names one, so that both meet the same machine. Without `--home`, a small deployment is made.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

MODEL = "flight_delays"
ASKED = (
    ["--help"], ["predict", MODEL], ["status"], ["why", MODEL], ["features"], ["audit", "verify"], ["doctor"],
    ["card", MODEL], ["rollback", MODEL, "--reason", "a benchmark", "--to"],
)  # fmt: skip
OURS = Path(sys.executable).with_name("evergreen")
Times = tuple[float, float]


class Answer(BaseHTTPRequestHandler):
    """In the place of the prediction API, which a command's own time does not count."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"id": "1", "prediction": 0.5}).encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def answering() -> Iterator[int]:
    """The port of a server that answers at once."""
    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


def champions(home: Path) -> list[int]:
    """The champion and the one before it, or another version that may serve."""
    from pipelines.settings import Settings
    from pipelines.stores import Stores

    tracking = Stores(Settings(_env_file=None, home=home)).tracking
    named = [tracking.named(MODEL, alias) for alias in ("champion", "previous", "anchor")]
    return list(dict.fromkeys(number for number in named if number is not None))


def timed(evergreen: Path, command: list[str], environment: dict[str, str]) -> Times:
    """Seconds on the clock and of the processor; a command that fails ends the benchmark."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [str(evergreen), *command], env=environment, capture_output=True, text=True, check=False
    )
    spent, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"evergreen {' '.join(command)} ended with {done.returncode}: {done.stderr}{done.stdout}")
    return spent, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(ways: dict[str, Path], times: int, home: Path, port: int) -> dict[str, dict[str, Times]]:
    """The medians of each command, by way. Each is run once before, so that the disk is warm."""
    environment = os.environ | {"EVERGREEN_HOME": str(home), "EVERGREEN_SERVING_PORT": str(port)}
    found: dict[str, dict[str, Times]] = {}
    line = champions(home)
    for asked in ASKED:
        if asked[-1] == "--to" and len(line) < 2:
            continue
        runs: dict[str, list[Times]] = {way: [] for way in ways}
        for number in range(times + 1):
            for way, evergreen in ways.items():
                command = asked
                if asked[-1] == "--to":
                    line = [*line[1:2], line[0], *line[2:]]
                    command = [*asked, str(line[0])]
                runs[way].append(timed(evergreen, command, environment))
            if not number:
                runs = {way: [] for way in ways}
        name = " ".join(asked).split(" --reason")[0]
        found[name] = {way: (median(w for w, _ in r), median(c for _, c in r)) for way, r in runs.items()}
    return found


def shown(found: dict[str, dict[str, Times]]) -> Table:
    ways = list(next(iter(found.values())))
    table = Table(title="From start to end, medians in seconds", title_justify="left")
    for column in ("evergreen ...", *(f"{way}, {what}" for way in ways for what in ("clock", "processor"))):
        table.add_column(column, justify="left" if column.startswith("evergreen") else "right")
    for name, times in found.items():
        table.add_row(name, *(f"{value:.2f}" for way in ways for value in times[way]))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--home", type=Path, help="a home with a champion; it is copied. Default: one is made"
    )
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument(
        "--against", type=Path, help="another checkout's evergreen, such as ../other/.venv/bin/evergreen"
    )
    asked = parser.parse_args()
    ways = {"this": OURS} | ({"that": asked.against.absolute()} if asked.against else {})
    with TemporaryDirectory() as folder, answering() as port:
        home = Path(folder, "home")
        if asked.home:
            shutil.copytree(asked.home, home)
        else:
            from pipelines.prove.promotion.world import built

            print("making a home with a champion ...", file=sys.stderr)
            home.mkdir()
            built(home)
        Console().print(shown(measure(ways, asked.times, home, port)))


if __name__ == "__main__":
    main()
