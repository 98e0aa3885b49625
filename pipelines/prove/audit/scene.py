"""A record that is edited in one place at a time, and put back as it was."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines.record.verification import versions
from pipelines.stores import Stores
from pipelines.stores.audit.log import AUDIT
from pipelines.stores.databases import engine
from pipelines.stores.ledger_tables import BATCHES
from pipelines.stores.tracking.records import Kept

Row = dict[str, Any]
Undo = Callable[[], None]


@dataclass
class Scene:
    """The record that is edited, as it was before."""

    stores: Stores
    draw: random.Random
    rows: list[Row] = field(init=False)
    kept: list[Kept] = field(init=False)

    def __post_init__(self) -> None:
        self.rows, self.kept = list(self.stores.audit.rows()), versions(self.stores)
        self._engine = engine(self.stores.settings.database)

    def table(self, rows: list[Row]) -> Undo | None:
        """The audit table with exactly these rows instead; None if these are its rows, or no database takes them."""
        named = [row["once"] for row in rows if row["once"] is not None]
        if rows == self.rows or len(named) > len(set(named)):
            return None
        self._fill(rows)
        return lambda: self._fill(self.rows)

    def _fill(self, rows: list[Row]) -> None:
        with self._engine.begin() as connection:
            connection.execute(sa.delete(AUDIT))
            if rows:
                connection.execute(sa.insert(AUDIT), rows)

    def file(self, path: Path, content: bytes | None) -> Undo | None:
        """A file with this content instead, or without the file; None if that is its content."""
        before = path.read_bytes()
        if content == before:
            return None
        path.unlink() if content is None else path.write_bytes(content)
        return lambda: _put(path, before)

    def tag(self, kept: Kept, name: str, value: str | None) -> Undo | None:
        """A version's tag with another value, or without it; None if that is its value."""
        client, number, before = self.stores.tracking.client, str(kept.version), kept.tags.get(name)
        if value == before:
            return None
        _tag(client, kept.model, number, name, value)
        return lambda: _tag(client, kept.model, number, name, before)

    def alias(self, model: str, alias: str, number: int | None) -> Undo | None:
        tracking = self.stores.tracking
        before = tracking.named(model, alias)
        if number == before:
            return None

        def put(version: int | None) -> None:
            if version is None:
                tracking.drop_alias(model, alias)
            else:
                tracking.set_alias(model, alias, version)

        put(number)
        return lambda: put(before)

    def ledger(self, digest: str, name: str, value: int) -> Undo:
        def put(number: int) -> None:
            with self._engine.begin() as connection:
                connection.execute(
                    sa.update(BATCHES).where(BATCHES.c.digest == digest).values({name: number})
                )

        with self._engine.connect() as connection:
            before = int(
                connection.execute(sa.select(BATCHES.c[name]).where(BATCHES.c.digest == digest)).scalar_one()
            )
        put(before + value)
        return lambda: put(before)

    def mangled(self, content: bytes) -> tuple[str, bytes]:
        """One edit of some bytes: one changed, one put in, one taken out, or the end cut off."""
        place = self.draw.randrange(len(content))
        how = self.draw.choice(("changed", "put in", "taken out", "cut off from"))
        other = bytes([content[place] ^ self.draw.randrange(1, 256)])
        made = {
            "changed": content[:place] + other + content[place + 1 :],
            "put in": content[:place] + other + content[place:],
            "taken out": content[:place] + content[place + 1 :],
            "cut off from": content[:place],
        }
        return f"byte {place} {how}, {other.hex()}", made[how]


def _put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _tag(client: Any, model: str, number: str, name: str, value: str | None) -> None:
    if value is None:
        client.delete_model_version_tag(model, number, name)
    else:
        client.set_model_version_tag(model, number, name, value)
