"""Files in a storage that machines share: brought here, rid of persons as any files are, and put back."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.erasure.delta import Found
from pipelines.erasure.files import Files
from pipelines.erasure.subjects import Sought
from pipelines.stores.erasures import Erasures
from pipelines.stores.shared.objects import Objects


@dataclass(frozen=True)
class Kept:
    """All files of a storage but those below the folders that are `apart`, which other places answer for."""

    name: str
    objects: Objects
    book: Erasures
    apart: Collection[str] = field(default=())

    def find(self, sought: Sought) -> Found:
        """Records and texts that are theirs or name them."""
        with self._brought() as here:
            return here.find(sought)

    def remove(self, sought: Sought, now: datetime) -> None:
        """They are gone from the storage's files once this returns; older versions that it keeps are its own."""
        with self._brought() as here:
            before = _looks(here.root)
            here.remove(sought, now)
            after = _looks(here.root)
            for name in sorted(after):
                if after[name] != before.get(name):
                    self.objects.write(name, here.root / name)
            for name in sorted(before.keys() - after.keys()):
                self.objects.remove(name)

    def unchangeable(self, sought: Sought) -> list[str]:
        """Files that hold something of theirs and cannot be written without it."""
        with self._brought() as here:
            return [
                f"{self.objects.address}/{path.relative_to(here.root)}" for path in here.unchangeable(sought)
            ]

    def said(self, column: str) -> set[str]:
        """The column's values in files of rows, whichever form they have."""
        with self._brought() as here:
            return here.said(column)

    @contextmanager
    def _brought(self) -> Iterator[Files]:
        with TemporaryDirectory(prefix="evergreen-kept-") as folder:
            for name in self.objects.names():
                if not name.startswith(tuple(f"{each}/" for each in self.apart)):
                    target = Path(folder, name)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self.objects.bring(name, target)
            yield Files(self.name, Path(folder), lambda _: False, self.book)


def _looks(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below a folder, by its name from there."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): (s.st_size, s.st_mtime_ns)
        for path in found
        for s in [path.stat()]
    }
