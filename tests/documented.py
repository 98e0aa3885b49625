"""Documents whose console blocks are run: each `$ command`, and word for word what it shows.

In what is shown `...` stands for anything: a time, an id, lines left out. How wide a table is drawn does not count.
"""

import doctest
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "--- and that was all of it: "
RULES = re.compile(r"[\u2500-\u257f]+")
"""The lines that tables are drawn with."""


@dataclass(frozen=True)
class Shown:
    """A command of a document, and what it is said to show."""

    command: str
    output: str


def shown(path: Path) -> list[Shown]:
    """The commands of a document in their order."""
    found = list[Shown]()
    for block in BLOCK.findall(path.read_text()):
        for part in re.split(r"(?m)^\$ ", block)[1:]:
            lines = part.splitlines()
            last = next(n for n, line in enumerate(lines) if not line.endswith("\\"))
            found.append(Shown("\n".join(lines[: last + 1]), "\n".join(lines[last + 1 :])))
    return found


def played(commands: Iterable[Shown], folder: Path, environment: dict[str, str]) -> list[str]:
    """What one shell shows for each command, typed one after the other."""
    listed = list(commands)
    said = f"\ncode=$?; printf '\\n%s%s\\n' '{MARK}' $code; (exit $code)\n"
    script = "".join(f"{{\n{each.command}\n}} 2>&1{said}" for each in listed)
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    found = re.split(rf"\n{MARK}\d+\n", done.stdout)
    assert len(found) == len(listed) + 1, done.stdout + done.stderr
    return found[:-1]


def same(wanted: str, got: str) -> bool:
    """Whether a command showed what the document says."""
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    wanted, got = (RULES.sub(" ", text).strip() for text in (wanted, got))
    anything = re.sub(r"\s*\.\.\.\s*", "...", wanted)
    return doctest.OutputChecker().check_output(f"{anything}\n", f"{got}\n", options)
