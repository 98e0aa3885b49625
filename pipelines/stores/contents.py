"""What a skops file holds, apart from what each writing of it leaves there."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

SCHEMA = "schema.json"


def contents_digest(path: Path) -> str:
    """Equal for two files of one fitted model.

    skops writes the address that each part had in memory, names arrays by it, and zip notes the time: left out here.
    """
    with zipfile.ZipFile(path) as archive:
        plain = _plain(json.loads(archive.read(SCHEMA)), archive)
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def _plain(node: Any, archive: zipfile.ZipFile) -> Any:
    """The schema without addresses, and with digests for the files it names."""
    if isinstance(node, list):
        return [_plain(each, archive) for each in node]
    if isinstance(node, dict):
        return {key: _value(key, node[key], archive) for key in node if key != "__id__"}
    return node


def _value(key: str, value: Any, archive: zipfile.ZipFile) -> Any:
    if key == "file" and value in archive.NameToInfo:
        return hashlib.sha256(archive.read(value)).hexdigest()
    return _plain(value, archive)
