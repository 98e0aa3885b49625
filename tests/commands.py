"""Several commands of a checkout in one process of it, which imports what they need once."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ALL = """
import contextlib, io, json, os, sys
from pathlib import Path
from pipelines import catalog
from pipelines.cli import app
from pipelines.settings import settings
told = []
for words in json.loads(sys.argv[1]):
    for read in (catalog._datasets, catalog._models, settings):
        read.cache_clear()
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            app(words)
        except SystemExit as end:
            code = end.code
    home = Path(os.environ["EVERGREEN_HOME"])
    kept = [str(p) for p in home.rglob("*") if p.is_file() and p.suffix not in (".db-wal", ".db-shm")]
    told.append([code, said.getvalue(), errors.getvalue(), sorted(kept)])
print(json.dumps(told))
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said, as of a process of its own, and the files that its home then held."""

    returncode: int
    stdout: str
    stderr: str
    kept: list[str]


def ran(checkout: Path, home: Path, *commands: Iterable[str]) -> list[Ended]:
    """Each command's end, with files and settings read anew; whatever it does not end by itself ends all."""
    done = alone(checkout, home, "-c", ALL, json.dumps([[*words] for words in commands]))
    assert done.returncode == 0, done.stderr
    ended = [Ended(*each) for each in json.loads(done.stdout.splitlines()[-1])]
    assert len(ended) == len(commands), done.stderr
    return ended


def alone(checkout: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own, with this checkout's code and this home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EVERGREEN_")}
    return subprocess.run(
        [sys.executable, *words], cwd=checkout, capture_output=True, text=True, check=False,
        env=kept | {"PYTHONPATH": str(checkout), "EVERGREEN_HOME": str(home)},
    )  # fmt: skip
