"""The addresses that rows of the databases hold lead to where this deployment lies, not to where it was backed up."""

import json
from collections.abc import Iterable

import sqlalchemy as sa

from pipelines.settings import Settings
from pipelines.stores.databases import engine

TRACKING = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("datasets", "dataset_source"),
)
"""MLflow's columns that hold addresses. A version's `source` stays as it is: it is signed, and where the files lie now
stands with the logged model. What files say of themselves, such as MLmodel, is signed by their digest."""

LEDGER = (("batches", "report"), ("attempts", "result"))


def moved(before: dict[str, str], settings: Settings) -> int:
    """How many values lead elsewhere now. Doing it twice is doing it once."""
    now = {"home": str(settings.home), "artifacts": settings.mlflow_artifacts}
    pairs = {before[name]: now[name] for name in ("artifacts", "home") if before[name] != now[name]}
    changed = 0
    for url, wanted in ((settings.mlflow_uri, TRACKING), (settings.database, LEDGER)):
        made = engine(url)
        with made.begin() as connection:
            for column in _there(connection, wanted):
                changed += sum(_replaced(connection, column, old, new) for old, new in pairs.items())
        made.dispose()
    return changed


def _there(connection: sa.Connection, wanted: Iterable[tuple[str, str]]) -> list[sa.Column[str]]:
    """These columns as they are in the database, of the tables that it has."""
    inspector = sa.inspect(connection)
    made = [
        (sa.Table(t, sa.MetaData(), autoload_with=connection), c) for t, c in wanted if inspector.has_table(t)
    ]
    return [table.c[column] for table, column in made]


def _replaced(connection: sa.Connection, column: sa.Column[str], old: str, new: str) -> int:
    """An address alone, or with something below it; a folder whose name only begins alike is another one."""
    text, plain = sa.cast(column, sa.Text), connection.dialect.name == "sqlite"
    find = sa.func.instr if plain else sa.func.strpos
    escaped = json.dumps(old)[1:-1], json.dumps(new)[1:-1]
    changed = 0
    for was, is_ in dict.fromkeys([(old, new), escaped]):
        value = sa.case((text == was, is_), else_=sa.func.replace(text, f"{was}/", f"{is_}/"))
        put = (
            sa.type_coerce(value, sa.Text)
            if plain or isinstance(column.type, sa.Text | sa.String)
            else sa.cast(value, sa.JSON)
        )
        wanted = sa.or_(text == was, find(text, f"{was}/") > 0)
        statement = sa.update(column.table).where(wanted).values({column.name: put})
        changed += connection.execute(statement).rowcount
    return changed
