"""Brings Delta tables on a local disk to that disk: delta-rs itself never flushes what it writes."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pipelines.places import local as local

if TYPE_CHECKING:
    from deltalake import DeltaTable

CHECKPOINT_EVERY = 100
"""How many commits delta-rs makes between two checkpoints."""


def address(root: str, layer: str, name: str) -> str:
    """Where a table of a layer lies in the lake."""
    return f"{root.rstrip('/')}/{layer}/{name}"


def flush(uri: str) -> None:
    """Flushes every commit that readers of the table's log still need, with the files it added.

    Not only our own commits: whoever made another may have died before flushing it, and after a power cut a hole
    in the log would take ours with it. Flushing what is on disk already costs next to nothing.
    """
    folder = local(uri)
    if folder is None:
        return
    log = folder / "_delta_log"
    first = _first(log)
    folders = {folder, log, *folder.parents[:3]}
    for path in sorted(log.glob("*checkpoint*")):
        fsync(path)
    for commit in sorted(log.glob("*.json")):
        if commit.stem.isdigit() and int(commit.stem) >= first:
            files = [commit, *_added(folder, commit)]
            folders |= {file.parent for file in files}
            for file in files:
                fsync(file)
    for path in folders:
        fsync(path)


def files_of(table: "DeltaTable") -> list[Path]:
    """The data files of an opened version of a table on a local disk.

    Not `file_uris()`: there the table's folder is percent-encoded and the rest of the path is not.
    """
    import pyarrow as pa

    folder = local(table.table_uri)
    if folder is None:
        raise ValueError(f"{table.table_uri} does not lie on a local disk")
    return [_file(folder, path) for path in pa.table(table.get_add_actions())["path"].to_pylist()]


def _file(folder: Path, path: str) -> Path:
    """A data file by its name in the log, which is encoded; relative to the table's folder unless it is an address."""
    found = local(path) if urlsplit(path).scheme == "file" else None
    return folder / unquote(path) if found is None else found


def _first(log: Path) -> int:
    """The first commit that may not be on disk: its writer may have died right after the last checkpoint."""
    try:
        newest = json.loads((log / "_last_checkpoint").read_text())["version"]
    except (OSError, ValueError, KeyError):
        return 0
    return max(0, int(newest) - CHECKPOINT_EVERY)


def _added(folder: Path, commit: Path) -> list[Path]:
    """The data files a commit added; none if the log was cleaned up meanwhile."""
    try:
        text = commit.read_text()
    except FileNotFoundError:
        return []
    # Not splitlines: texts in the statistics may hold other line ends than this one.
    actions = [json.loads(line) for line in text.split("\n") if line]
    return [_file(folder, a["add"]["path"]) for a in actions if "add" in a]


def fsync(path: Path) -> None:
    """Flushes a file or folder; one that a later commit removed needs no flushing."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
