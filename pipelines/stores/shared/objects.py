"""A place that machines share: an object store's bucket and prefix, or a folder that all of them mount.

Credentials and options come from where the store's own users put them: the AWS_..., AZURE_... and GOOGLE_... variables,
which Delta's library reads as well.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pipelines.contracts import EvergreenError, TransientError
from pipelines.places import local

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

RETRIES: "RetryConfig" = {
    "max_retries": 40,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=3), "base": 2},
}
"""A store that restarts is waited for; one that stays away is told of after a minute."""
PART = 64 * 1024 * 1024
"""Bytes above which a file is sent in parts, as stores take no larger ones."""


class Objects:
    """Files by name. A file is written whole or not at all, and seen by all once the call returns."""

    def __init__(self, address: str, setting: str = "EVERGREEN_STORAGE") -> None:
        self.address, self._setting = address.rstrip("/"), setting

    @cached_property
    def _store(self) -> "ObjectStore":
        from obstore.exceptions import BaseError
        from obstore.store import LocalStore, from_url

        folder = local(self.address)
        if folder is not None:
            return LocalStore(folder, mkdir=True)
        try:
            return from_url(self.address, retry_config=RETRIES)  # type: ignore[return-value]
        except (BaseError, ValueError) as error:
            raise EvergreenError(f"{self._setting} {self.address}: {_first(error)}") from None

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None if there is none of that name."""
        import obstore

        with self._told("read"), suppress(FileNotFoundError):
            return bytes(obstore.get(self._store, name).bytes())
        return None

    def bring(self, name: str, target: Path) -> bool:
        """Writes a file to a place on the disk, as old as it is here; False if there is none of that name."""
        import obstore

        with self._told("read"), suppress(FileNotFoundError):
            found = obstore.get(self._store, name)
            with target.open("wb") as file:
                for chunk in found:
                    file.write(chunk)
            written = found.meta["last_modified"].timestamp()
            os.utime(target, (written, written))
            return True
        return False

    def write(self, name: str, content: "bytes | Path") -> None:
        """In place of what had that name."""
        import obstore

        with self._told("written"):
            obstore.put(self._store, name, content, chunk_size=PART)

    def has(self, name: str) -> bool:
        import obstore

        with self._told("read"), suppress(FileNotFoundError):
            return bool(obstore.head(self._store, name))
        return False

    def names(self, folder: str = "") -> Iterator[str]:
        """Every file below a folder, by its name from the root, in order."""
        import obstore

        with self._told("listed"):
            found = [each["path"] for chunk in obstore.list(self._store, folder or None) for each in chunk]
        yield from sorted(found)

    def looks(self) -> list[tuple[str, int, int]]:
        """Name, size and time of the last change (ns) of every file."""
        import obstore

        with self._told("listed"):
            found = [each for chunk in obstore.list(self._store) for each in chunk]
        return [(e["path"], e["size"], int(e["last_modified"].timestamp() * 1e9)) for e in found]

    def tag(self, name: str) -> str | None:
        """What changes whenever a file does; None if there is none of that name."""
        import obstore

        with self._told("read"), suppress(FileNotFoundError):
            return obstore.head(self._store, name)["e_tag"]
        return None

    def remove(self, name: str) -> None:
        import obstore

        with self._told("removed"), suppress(FileNotFoundError):
            obstore.delete(self._store, name)

    def create(self, name: str, content: bytes) -> bool:
        """Whether the file is new: one that is there stays as it is."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._told("written"):
            try:
                obstore.put(self._store, name, content, mode="create")
            except AlreadyExistsError:
                return False
            return True

    @contextmanager
    def _told(self, done: str) -> Iterator[None]:
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise EvergreenError(
                f"the storage {self.address} refuses: {_first(error)}; mend its credentials or their rights"
            ) from None
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            raise TransientError(
                f"the storage {self.address} cannot be {done}: {_first(error)}; try again"
            ) from None


@lru_cache(maxsize=8)
def refuse_without_conditions(address: str) -> None:
    """EvergreenError if two writers could both believe that they came first: then nothing is exactly once.

    Two commits race for one name. A store of which the second of them is not told would lose the first.
    """
    objects, probe = Objects(address), f".evergreen/{uuid4().hex}"
    try:
        first, second = objects.create(probe, b"1"), objects.create(probe, b"2")
    finally:
        with suppress(EvergreenError):
            objects.remove(probe)
    if not first or second:
        raise EvergreenError(
            f"the storage {address} does not refuse a second file of one name (`If-None-Match: *`), so racing commits"
            " would overwrite each other; use a store or release that has conditional writes, such as Amazon S3,"
            " SeaweedFS 4, MinIO of 2024 or later, Azure Blob Storage or Google Cloud Storage"
        )


def _first(error: Any) -> str:
    """The first line of an error without what a store adds of its own request."""
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
