"""Bytes of files that this process may have open as databases, read by another process.

Whoever closes a file drops all locks that his process holds on it, also those of SQLite's connections; another process
then takes the database for unused, and what both write is a broken file.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.contracts import TransientError

LOOK = """
import json, sys
told = json.load(sys.stdin)
values = [value.encode() for value in told["values"]]
overlap = max(map(len, values))
def has(path):
    before = b""
    with open(path, "rb") as file:
        while block := file.read(1 << 24):
            seen = before + block
            if any(value in seen for value in values):
                return True
            before = seen[-overlap:]
    return False
print(json.dumps(any(map(has, told["files"]))))
"""


def holds(files: Sequence[Path], values: Sequence[str]) -> bool:
    """Whether one of the files has the bytes of one of the values anywhere."""
    if not files or not values:
        return False
    # The values go by stdin: what is sought names people, and arguments can be read by others.
    told = json.dumps({"files": [str(each) for each in files], "values": list(values)})
    words = [sys.executable, "-I", "-c", LOOK]
    done = subprocess.run(words, input=told, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TransientError(f"{files[0]} cannot be read: {done.stderr.strip()[-200:]}; run it again")
    return bool(json.loads(done.stdout))
