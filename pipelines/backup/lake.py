"""The Delta tables of a lake on a disk: which version each has, and the files that it and those before need."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from pipelines.backup.parts import File, walked

LOG = "_delta_log"
LAST = "_last_checkpoint"


def versions(lake: Path) -> dict[str, int]:
    """The newest version of every table, by the table's place below the lake."""
    found = {}
    for where, folders, _ in os.walk(lake):
        if LOG in folders:
            folders.clear()
            numbers = [int(name[:-5]) for name in os.listdir(Path(where, LOG)) if _is_commit(name)]
            if numbers:
                found[Path(where).relative_to(lake).as_posix()] = max(numbers)
    return found


def files(lake: Path, tables: dict[str, int]) -> Iterator[File]:
    """The files of these versions of tables and of all before them; what was committed since is left out."""
    for table, version in tables.items():
        folder = lake / table
        later = _added_after(folder / LOG, version)
        for path in walked(folder):
            within = path.relative_to(folder)
            wanted = _wanted(path, version) if within.parts[0] == LOG else within.as_posix() not in later
            if wanted:
                yield File(path, f"lake/{table}/{within.as_posix()}", still=True)


def _is_commit(name: str) -> bool:
    return name.endswith(".json") and name[:-5].isdigit()


def _wanted(path: Path, version: int) -> bool:
    """Whether a file of the log is of that version or before; the pointer to a checkpoint goes by where it points."""
    number = path.name.split(".")[0]
    if path.name == LAST:
        try:
            return int(json.loads(path.read_text())["version"]) <= version
        except (OSError, ValueError, KeyError):
            return False
    return number.isdigit() and int(number) <= version and not path.name.endswith(".tmp")


def _added_after(log: Path, version: int) -> set[str]:
    """The data files that commits after a version added."""
    found = set()
    for commit in log.glob("*.json"):
        if _is_commit(commit.name) and int(commit.stem) > version:
            actions = (json.loads(line) for line in commit.read_text().split("\n") if line)
            found |= {unquote(action["add"]["path"]) for action in actions if "add" in action}
    return found
