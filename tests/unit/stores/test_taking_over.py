"""Tables that an earlier Evergreen made are taken over: no row is lost, and what nobody can know is refused."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.contracts import EvergreenError
from pipelines.places import sqlite_url
from pipelines.stores.databases import create, engine

LATER = {
    "note": lambda: sa.Column("note", sa.Text),
    "count": lambda: sa.Column("count", sa.Integer, nullable=False, default=7),
    "open": lambda: sa.Column("open", sa.Boolean, nullable=False, default=True, index=True),
    "kind": lambda: sa.Column("kind", sa.String(9), nullable=False, default="it's"),
    "told": lambda: sa.Column("told", sa.JSON),
}
USUAL = {"note": None, "count": 7, "open": True, "kind": "it's", "told": None}


def table(*later: str, must: bool = False) -> sa.Table:
    columns = [sa.Column("id", sa.Integer, primary_key=True), sa.Column("said", sa.Text, nullable=False)]
    columns += [LATER[name]() for name in later]
    columns += [sa.Column("must", sa.Text, nullable=False)] if must else []
    return sa.Table("things", sa.MetaData(), *columns)


@hypothesis_settings(max_examples=20)
@given(st.lists(st.sampled_from(sorted(LATER)), unique=True), st.lists(st.text("ab"), max_size=4))
def test_rows_of_before_stay_and_have_what_is_usual_in_columns_that_came_since(
    tmp_path_factory: pytest.TempPathFactory, later: list[str], said: list[str]
) -> None:
    made = engine(sqlite_url(tmp_path_factory.mktemp("home") / "evergreen.db"))
    old, new = table(), table(*later)
    create(made, old.metadata)
    with made.begin() as connection:
        for text in said:
            connection.execute(sa.insert(old).values(said=text))
    for _twice in range(2):
        create(made, new.metadata)
    with made.begin() as connection:
        connection.execute(sa.insert(new).values(said="new"))
        rows = [dict(row._mapping) for row in connection.execute(sa.select(new).order_by(new.c.id))]
    wanted = [{"said": text} | {name: USUAL[name] for name in later} for text in [*said, "new"]]
    assert rows == [{"id": number, **row} for number, row in enumerate(wanted, 1)]
    made.dispose()


def test_an_older_table_that_nobody_can_fill_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    made = engine(sqlite_url(tmp_path / "evergreen.db"))
    create(made, table().metadata)
    with pytest.raises(EvergreenError, match=r"table things .* lacks must: .*docs/how-to/upgrade.md"):
        create(made, table("note", must=True).metadata)
    assert {column["name"] for column in sa.inspect(made).get_columns("things")} == {"id", "said"}
