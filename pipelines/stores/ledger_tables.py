"""The arrival ledger's tables."""

from typing import Any

import sqlalchemy as sa

from pipelines.contracts import BatchState
from pipelines.stores.databases import Utc

METADATA = sa.MetaData()
# The dataset is part of the key: a file refused under a wrong name may come again under its right one.
KEY = (("digest", sa.String(64)), ("dataset", sa.String(100)))


def _key() -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, primary_key=True) for name, kind in KEY]


BATCHES = sa.Table(
    "batches",
    METADATA,
    *_key(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False, default=0),
    sa.Column("state", sa.String(10), nullable=False, default=BatchState.SEEN.value),
    sa.Column("reason", sa.Text),
    sa.Column("parsed", sa.BigInteger, nullable=False, default=0),
    sa.Column("silver", sa.BigInteger, nullable=False, default=0),
    sa.Column("quarantined", sa.BigInteger, nullable=False, default=0),
    sa.Column("superseded", sa.BigInteger, nullable=False, default=0),
    sa.Column("first_known", Utc),
    sa.Column("last_known", Utc),
    sa.Column("report", sa.Text),
    sa.Column("attempt", sa.Integer, nullable=False, default=0),
    sa.Column("profile", sa.JSON),
    sa.Column("token", sa.Integer, nullable=False, default=0),
    sa.Column("round", sa.Integer, nullable=False, default=0),
    sa.Column("holder", sa.Text),
    sa.Column("lease_until", Utc),
    sa.Column("releasing", sa.Boolean, nullable=False, default=False),
    sa.Column("discarded", sa.Boolean, nullable=False, default=False),
    sa.Column("seen_at", Utc, nullable=False),
)
NAMES = sa.Table(
    "names", METADATA, *_key(), sa.Column("name", sa.Text, primary_key=True), sa.Column("seen_at", Utc)
)
ATTEMPTS = sa.Table(
    "attempts",
    METADATA,
    *_key(),
    sa.Column("token", sa.Integer, primary_key=True),
    sa.Column("result", sa.JSON, nullable=False),
    sa.Column("decided", sa.Boolean, nullable=False, default=False),
)
HISTORY = sa.Table(
    "history",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    *(sa.Column(name, kind, nullable=False, index=True) for name, kind in KEY),
    sa.Column("step", sa.String(20), nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("at", Utc, nullable=False),
    sa.Column("note", sa.Text),
)
UNOPENED = sa.Table(
    "unopened",
    METADATA,
    sa.Column("dataset", sa.String(100), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("told", sa.Boolean, nullable=False, default=False),
    sa.Column("seen_at", Utc, nullable=False),
)
SCHEMAS = sa.Table(
    "schemas",
    METADATA,
    sa.Column("dataset", sa.String(100), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("columns", sa.JSON, nullable=False),
    sa.Column("adopted_at", Utc, nullable=False),
)
