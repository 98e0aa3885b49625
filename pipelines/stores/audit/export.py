"""The audit log as a file of JSON lines that another party, with the key, can verify far from this deployment."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.contracts import EvergreenError
from pipelines.stores.audit.chain import SAID, Chain, Finding, Head, Walk
from pipelines.stores.audit.log import SECRET, Audit

FORMAT = "evergreen audit log"


def export(audit: Audit, path: Path) -> Head:
    """Write every entry with its link, and the head last; the file is there whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    head = Head()
    with part.open("w") as file:
        for row in audit.rows():
            file.write(json.dumps(row) + "\n")
            head = Head(row["number"], row["chained"])
        file.write(json.dumps({"format": FORMAT, "head": str(head)}) + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return head


def verify_file(path: Path, key: Path) -> tuple[Head, list[Finding]]:
    """How far an exported log goes, and everything in it that is not as it was written."""
    walk, last = Walk(Chain(_secret(key))), _Last()
    found = list(walk.along(last.rows(path)))
    if last.head is None:
        found.append(Finding(None, f"{path} ends without its head: its end was cut off"))
    elif last.head != walk.head:
        found.append(Finding(None, f"{path} should end with entry {last.head.number}"))
    return walk.head, found


def head_of(path: Path) -> Head:
    """The head an exported log ends with: a witness of how far the log had come."""
    last = _Last()
    for _ in last.rows(path):
        pass
    if last.head is None:
        raise EvergreenError(
            f"{path} is no whole export of an audit log; `evergreen audit export` writes one"
        )
    return last.head


class _Last:
    """Reads an exported log line by line; `head` is what its last line says."""

    head: Head | None = None

    def rows(self, path: Path) -> Iterator[dict[str, Any]]:
        if not path.is_file():
            raise EvergreenError(f"{path} is no file; `evergreen audit export` writes one")
        with path.open() as file:
            for place, text in enumerate(file, 1):
                said = _parsed(text, path, place)
                self.head = Head.of(str(said["head"])) if said.get("format") == FORMAT else None
                if self.head is None:
                    yield {name: said.get(name) for name in (*SAID, "chained")} | _number(said, path, place)


def _parsed(text: str, path: Path, place: int) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise EvergreenError(f"{path}, line {place} is no entry of an audit log: {error}") from error


def _number(said: dict[str, Any], path: Path, place: int) -> dict[str, int]:
    if not isinstance(said.get("number"), int):
        raise EvergreenError(f"{path}, line {place} is no entry of an audit log: it has no number")
    return {"number": said["number"]}


def _secret(key: Path) -> bytes:
    if not key.is_file() or key.stat().st_size != SECRET:
        raise EvergreenError(f"{key} is no key of an audit log; name the deployment's audit.key")
    return key.read_bytes()
