"""Files that arrive on an object store: each is brought to the landing folder, and leaves it once archived.

Until then it lies in both, so a machine that dies with its disk loses nothing: another brings the file again.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from pipelines.places import whole
from pipelines.stores import Stores
from pipelines.stores.shared.objects import Objects

NOTES = ".inbox"
"""In this folder of the landing folder it is noted which content of a name was brought."""


def names(stores: Stores) -> list[str]:
    """What lies directly in the inbox, by name; nothing without an inbox."""
    inbox = _inbox(stores)
    return [] if inbox is None else [name for name in inbox.names() if "/" not in name]


def bring(name: str, stores: Stores) -> None:
    """Brings a file to the landing folder, unless one of its name waits there."""
    inbox, target = _inbox(stores), stores.settings.landing_path / name
    tag = None if inbox is None else inbox.tag(name)
    if inbox is None or tag is None or target.exists():
        return
    with suppress(_Gone), whole(target) as part:
        if not inbox.bring(name, part):
            raise _Gone
        note = _note(name, stores)
        note.parent.mkdir(exist_ok=True)
        note.write_text(tag)


def archived(name: str, stores: Stores) -> None:
    """Takes out of the inbox what was brought under this name; a newer content of that name stays."""
    inbox, note = _inbox(stores), _note(name, stores)
    if inbox is None or not note.is_file() or (stores.settings.landing_path / name).exists():
        return
    if inbox.tag(name) == note.read_text():
        inbox.remove(name)
    note.unlink(missing_ok=True)


class _Gone(Exception):
    """Another machine archived it meanwhile."""


def _inbox(stores: Stores) -> Objects | None:
    return None if stores.settings.inbox is None else Objects(stores.settings.inbox, "EVERGREEN_INBOX")


def _note(name: str, stores: Stores) -> Path:
    return stores.settings.landing_path / NOTES / hashlib.sha256(name.encode()).hexdigest()
