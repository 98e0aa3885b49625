"""Files that every machine of a deployment must find: below home, and in the storage that they share, if there is one.

Where there is none, home is what they share, and nothing here does more than a file system does.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines import places

if TYPE_CHECKING:
    from pipelines.stores.shared.objects import Objects


SHARED = ("decisions", "training_sets", "rebuilds", "reports", "archive", "refused", "audit")
"""Entries of home of which the storage has what counts."""


class _Absent(Exception):
    """The storage has no file of that name."""


class Files:
    """A file's name is its place below home. What is kept is in the storage before the call returns, whole."""

    def __init__(self, home: Path, storage: str | None) -> None:
        self.home, self.storage = home, storage

    @cached_property
    def _objects(self) -> "Objects | None":
        from pipelines.stores.shared.objects import Objects

        return None if self.storage is None else Objects(self.storage)

    def fetch(self, path: Path, fixed: bool = False) -> Path:
        """The path, where now lies what the storage has of that name; what is there already where it has none.

        `fixed` says that a file of this name never changes: one that is there is not asked for again.
        """
        objects = self._objects
        if objects is not None and not (fixed and path.exists()):
            with suppress(_Absent), places.whole(path) as part:
                if not objects.bring(self._name(path), part):
                    raise _Absent
        return path

    def at(self, *names: str) -> Path:
        """Where a file lies below home, as `fetch` brings it."""
        return self.fetch(self.home.joinpath(*names))

    def fetch_all(self, folder: Path) -> Path:
        """The folder, with every file that the storage has below it."""
        for name in self._objects.names(self._name(folder)) if self._objects is not None else ():
            self.fetch(self.home / name)
        return folder

    @contextmanager
    def whole(self, path: Path) -> Iterator[Path]:
        """As `places.whole`, and kept."""
        with places.whole(path) as part:
            yield part
        self.keep(path)

    @contextmanager
    def changing(self, folder: Path) -> Iterator[Path]:
        """The folder as it is in the storage; what was written or removed in it is so there as well afterwards."""
        before = _looks(self.fetch_all(folder)) if self._objects is not None else {}
        yield folder
        if self._objects is not None:
            after = _looks(folder)
            self.keep(*(path for path, look in after.items() if before.get(path) != look))
            for path in before.keys() - after.keys():
                self.remove(path)

    def keep(self, *paths: Path) -> None:
        """Brings files to the storage, which lie there whole once this returns."""
        if self._objects is not None:
            for path in paths:
                self._objects.write(self._name(path), path)

    def hand_over(self, path: Path) -> None:
        """Brings a file to the storage and, where there is one, away from home."""
        if self._objects is not None:
            self.keep(path)
            path.unlink()

    def there(self, path: Path) -> bool:
        """Whether a file of that name is at home or in the storage."""
        return path.exists() or (self._objects is not None and self._objects.has(self._name(path)))

    def remove(self, path: Path) -> None:
        """A file is gone from home and storage."""
        path.unlink(missing_ok=True)
        if self._objects is not None:
            self._objects.remove(self._name(path))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.home).as_posix()


def _looks(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of every file below a folder that bears its final name."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in found}
