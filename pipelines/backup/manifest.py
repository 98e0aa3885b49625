"""What a backup holds, signed by the deployment: every file with its digest. A backup without its manifest is none."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from pipelines.backup.vault import MANIFESTS, Vault
from pipelines.contracts import EvergreenError
from pipelines.places import whole
from pipelines.stores.audit.keys import VERIFYING, Keys
from pipelines.stores.durable import fsync

FORMAT = 1
FILES = "file"
ROOTS = frozenset({"home", "landing", "lake", "artifacts", "keys", "databases"})


class Entry(BaseModel):
    """One file: its name, the digest and length of its bytes, and its rights; `kind` is what makes it again."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    sha256: str
    size: int
    mode: int = 0o600
    kind: str = FILES

    @field_validator("name")
    @classmethod
    def _below_a_root(cls, name: str) -> str:
        parts = PurePosixPath(name).parts
        if name.startswith("/") or "\0" in name or ".." in parts or len(parts) < 2 or parts[0] not in ROOTS:
            raise ValueError("a name that leads out of the deployment")
        return name

    @field_validator("sha256")
    @classmethod
    def _a_digest(cls, text: str) -> str:
        if len(text) != 64 or set(text) - set("0123456789abcdef"):
            raise ValueError("no SHA-256")
        return text


class Manifest(BaseModel):
    """One backup. `places` are the addresses that its rows and records may hold; `tables` are Delta versions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    name: str
    at: datetime
    places: dict[str, str]
    keys: bool
    audit: str
    tables: dict[str, int]
    files: tuple[Entry, ...]

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.files)

    def of(self, kind: str) -> list[Entry]:
        return [entry for entry in self.files if entry.kind == kind]

    def named(self, name: str) -> Entry | None:
        return next((entry for entry in self.files if entry.name == name), None)


@dataclass(frozen=True)
class Read:
    """A manifest as it lies there: its bytes, what was signed of them, and what they say."""

    text: bytes
    signature: str
    manifest: Manifest


def write(manifest: Manifest, vault: Vault, keys: Keys) -> str:
    """The digest of the manifest, which lies there with its signature once everything else does."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=1).encode()
    folder = vault.folder / MANIFESTS
    _file(folder / f"{manifest.name}.sig", keys.sign(_statement(text)).encode())
    _file(folder / f"{manifest.name}.json", text)
    return hashlib.sha256(text).hexdigest()


def names(vault: Vault) -> list[str]:
    """The complete backups of a folder, the oldest first."""
    return sorted(
        path.stem for path in (vault.folder / MANIFESTS).glob("*.json") if not path.name.startswith(".")
    )


def read(vault: Vault, name: str | None = None) -> Read:
    """A backup's manifest, the newest if none is named. EvergreenError if there is none, or it cannot be read."""
    there = names(vault)
    if not there:
        raise EvergreenError(
            f"{vault.folder} holds no complete backup: `evergreen backup` writes its manifest last; run that again"
        )
    if name is not None and name not in there:
        raise EvergreenError(f"{vault.folder} holds no backup {name!r}; there are: {', '.join(there)}")
    path = vault.folder / MANIFESTS / f"{name or there[-1]}.json"
    signature = path.with_suffix(".sig")
    if not signature.is_file():
        raise EvergreenError(f"the backup is incomplete: {signature} is missing")
    text = path.read_bytes()
    return Read(text, signature.read_text().strip(), _parsed(text, str(path)))


def _parsed(text: bytes, path: str) -> Manifest:
    try:
        plain: Any = json.loads(text)
        if isinstance(plain, dict) and plain.get("format") not in (None, FORMAT):
            raise EvergreenError(
                f"{path} is of format {plain['format']}, which this Evergreen does not know; update it"
            )
        return Manifest.model_validate_json(text)
    except (ValueError, ValidationError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise EvergreenError(f"the backup is damaged: {path} is no manifest: {said}") from None


def authentic(found: Read, keys: Keys, vault: Vault) -> str:
    """Who vouches for it, in a sentence. EvergreenError if it is not signed by the key that is at hand.

    A key of this deployment that is here already counts; else the one in the backup itself, which proves only that
    nothing changed since: whoever could replace all of it could sign it, too.
    """
    if (keys.folder / VERIFYING).exists():
        _check(found, keys)
        return f"signed by the key in {keys.folder}"
    own = found.manifest.named(f"keys/{VERIFYING}")
    if own is None:
        return "its signature cannot be checked: it holds no key, and there is none here"
    vault.sound(own.name, own.sha256, own.size)
    _check(found, _Lent(vault, own))
    return f"signed by the key that it holds itself, SHA-256 {own.sha256[:16]}; compare that with yours"


class _Lent(Keys):
    """The verifying key out of a backup."""

    def __init__(self, vault: Vault, entry: Entry) -> None:
        super().__init__(vault.folder)
        self._pem = vault.place(entry.sha256).read_bytes()

    @property
    def _public(self) -> Any:  # type: ignore[override]
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        return load_pem_public_key(self._pem)


def _check(found: Read, keys: Keys) -> None:
    if not keys.verifies(_statement(found.text), found.signature):
        raise EvergreenError(
            f"the manifest of {found.manifest.name} was changed, or another deployment signed it; refused"
        )


def _statement(text: bytes) -> bytes:
    return b"evergreen backup " + hashlib.sha256(text).hexdigest().encode()


def _file(path: Any, content: bytes) -> None:
    with whole(path) as part:
        part.write_bytes(content)
        part.chmod(0o600)
        fsync(part)
    fsync(path.parent)


def total(entries: Sequence[Entry]) -> str:
    """How many files and bytes, for people."""
    return f"{len(entries):,} files, {sum(entry.size for entry in entries) / 1e6:,.1f} MB"
