"""Brings Delta tables on a local disk to that disk: delta-rs itself never flushes what it writes."""

import json
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

CHECKPOINT_EVERY = 100
"""How many commits delta-rs makes between two checkpoints."""


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
        _fsync(path)
    for commit in sorted(log.glob("*.json")):
        if commit.stem.isdigit() and int(commit.stem) >= first:
            files = [commit, *_added(folder, commit)]
            folders |= {file.parent for file in files}
            for file in files:
                _fsync(file)
    for path in folders:
        _fsync(path)


def local(uri: str) -> Path | None:
    """The folder of a table on a local disk; None if it lies elsewhere."""
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        return Path(unquote(parts.path) if parts.scheme else uri)
    return None


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
    return [folder / unquote(a["add"]["path"]) for a in actions if "add" in a]


def _fsync(path: Path) -> None:
    """Flushes a file or folder; one that a later commit removed needs no flushing."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
