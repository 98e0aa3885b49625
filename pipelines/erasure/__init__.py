"""Persons are removed from everywhere, and rows that outlived their dataset's retention.

In come a person's value of a column that names persons, or a dataset's retention; out goes a deployment without their
rows: not in the newest version of a table, nor in an older one, nor in a file. What was removed is never told, only how
much and from where. It trains nothing and promotes nothing: which models learned from the rows it says.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.erasure.erase import Erased
    from pipelines.stores import Stores

__all__ = [
    "erase",
    "retention",
    "subjects",
]


def again(
    stores: "Stores",
    book: Path | None = None,
    since: datetime | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> "Erased | None":
    """Erases whoever was erased before and is here again, as after a restore; None if nobody is.

    `book` is a newer copy of `erasures.jsonl` than the restored one; `since`, the moment of the backup, leaves out
    orders that were carried out before it, whose persons may have come back since by their own will.
    """
    from pipelines.erasure.recalled import again as erased_again

    return erased_again(stores, book, since, say)
