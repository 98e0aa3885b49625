"""Several commands of a checkout in one process of it, which imports what they need once."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ALL = """
import contextlib, io, json, sys
from pipelines.cli import app
told = []
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            app(words)
        except SystemExit as end:
            told.append([end.code, said, errors])
print(json.dumps([[code, said.getvalue(), errors.getvalue()] for code, said, errors in told]))
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said, as of a process of its own."""

    returncode: int
    stdout: str
    stderr: str


def ran(checkout: Path, home: Path, *commands: tuple[str, ...]) -> list[Ended]:
    """Each command's end; whatever it does not end by itself, such as a traceback, ends all."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EVERGREEN_")}
    done = subprocess.run(
        [sys.executable, "-c", ALL, json.dumps(commands)],
        cwd=checkout, capture_output=True, text=True, check=False,
        env=kept | {"PYTHONPATH": str(checkout), "EVERGREEN_HOME": str(home)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ended = [Ended(*each) for each in json.loads(done.stdout.splitlines()[-1])]
    assert len(ended) == len(commands), done.stderr
    return ended
