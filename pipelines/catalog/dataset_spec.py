"""What lands: one spec per kind of file."""

import re
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, model_validator

from pipelines.catalog.types import NAME, Cron, Duration, File, Share, Spec, Unit

COLUMN_NAME = r"[A-Za-z][A-Za-z0-9_]{0,99}"


class Column(Spec):
    """One column as it lands. Timestamps must carry a zone and are kept in UTC."""

    type: Literal["string", "integer", "float", "timestamp"] = Field(
        description="what its values are read as, strictly; one that is none sets its row aside in quarantine"
    )
    description: str = Field(description="what it says, with its unit, for people")
    nullable: bool = Field(False, description="true: a row may lack it; else such a row goes to quarantine")
    header: str | None = Field(
        None, description="what files may call it, where that is no name of a column", examples=["Order no."]
    )
    since: int = Field(
        1, ge=1, description="the dataset's version that brought it; older files lack it", examples=[2]
    )
    deprecated: int | None = Field(
        None, ge=2, description="the version from which files may leave it out", examples=[3]
    )
    timezone: str | None = Field(
        None, description="the zone of times that are written without one", examples=["Europe/Berlin"]
    )
    nanoseconds: Literal["refuse", "cut"] = Field(
        "refuse", description="what becomes of a time finer than the microseconds that are kept"
    )

    @model_validator(mode="after")
    def may_be_missing_only_if_null(self) -> "Column":
        """A column with `since` above 1 or with `deprecated` is nullable, as files may lack it."""
        if self.optional and not self.nullable:
            raise ValueError("a column that files may lack must be nullable: true")
        return self

    @model_validator(mode="after")
    def times_have_a_zone(self) -> "Column":
        """`timezone` and `nanoseconds` belong to timestamps alone, and `timezone` is a name of IANA's list."""
        if self.type != "timestamp" and (self.timezone or self.nanoseconds != "refuse"):
            raise ValueError("timezone and nanoseconds are for columns of type timestamp")
        if self.timezone is not None and not _is_zone(self.timezone):
            raise ValueError(
                f"timezone: {self.timezone!r} is no zone's name such as UTC, Europe/Berlin or Etc/GMT+5"
            )
        return self

    @property
    def optional(self) -> bool:
        """Whether a file may lack the column."""
        return self.since > 1 or self.deprecated is not None


class DatasetSpec(File):
    """A kind of file that lands."""

    name: str = Field(pattern=NAME, description="its name, which is that of its file")
    description: str = Field(description="what a row is, for people")
    owner: str = Field(description="the team that is asked when it fails")
    version: int = Field(1, ge=1, description="of the columns; raised by each change of them")
    pattern: str = Field(description="glob that a file's name matches")
    key: tuple[str, ...] = Field(
        min_length=1,
        description="the columns that tell rows apart; a later row of the same key corrects the earlier",
    )
    event_time: str = Field(description="the column that says when it happened")
    available_at: str = Field(description="the column that says when it could be known")
    columns: dict[str, Column] = Field(min_length=1, description="every column that is kept, by its name")
    subject: str | None = Field(
        None,
        description="the column that identifies a person, whom `evergreen erase` removes by it from everywhere; the"
        " same name in several datasets means the same persons",
        examples=["customer_id"],
    )
    retention: Duration | None = Field(
        None,
        description="rows whose event is longer ago than so much before the newest that landed are removed for good"
        " by `evergreen retain`; unset: none",
        examples=["400d"],
    )
    sweep: Cron = Field("*/5 * * * *", description="when to look for files whose event was lost")
    reference: bool = Field(False, description="true: lands rarely, no feature waits for it")
    max_bad_share: Share = Field(0.2, ge=0, le=1, description="more bad rows than this refuse the file")
    max_bytes: Annotated[int, Unit("bytes")] = Field(
        2_000_000_000, gt=0, description="larger files, also once decompressed, are refused"
    )
    null_values: tuple[str, ...] = Field(
        ("",), description="the texts that mean: no value", examples=[("", "NA")]
    )
    any_case: bool = Field(False, description="true: a file may write the columns' names in capitals or not")
    trim: bool = Field(False, description="true: blanks around a CSV's names and values are not part of them")
    upstream: str | None = Field(
        None,
        pattern=NAME,
        description="the module of pipelines/upstream that plays where its files come from",
    )
    manifest: bool = Field(False, description="true: NAME waits for NAME.manifest.json with its size")

    @property
    def required(self) -> list[str]:
        """The columns every file must have."""
        return [name for name, column in self.columns.items() if not column.optional]

    @model_validator(mode="after")
    def subject_is_told_apart(self) -> "DatasetSpec":
        """`subject` names a column of type string or integer."""
        column = self.columns.get(self.subject) if self.subject is not None else None
        if self.subject is not None and (column is None or column.type not in ("string", "integer")):
            raise ValueError(f"subject: {self.subject!r} is no column of type string or integer")
        return self

    @model_validator(mode="after")
    def columns_fit(self) -> "DatasetSpec":
        """`key`, `event_time` and `available_at` name columns; a column's name is a letter, then letters, digits and _;
        no two differ only in case or share a header; none speaks of a version above the dataset's.
        """
        missing = {*self.key, self.event_time, self.available_at} - set(self.columns)
        if missing:
            raise ValueError(f"key, event_time or available_at name no column: {sorted(missing)}")
        odd = [name for name in self.columns if re.fullmatch(COLUMN_NAME, name) is None]
        if odd:
            raise ValueError(f"{odd[0]!r} is no column name: a letter, then letters, digits and _")
        alike = [n for n in self.columns if sum(n.lower() == other.lower() for other in self.columns) > 1]
        if alike:
            raise ValueError(
                f"columns {alike} differ only in case; SQL takes them for one: rename all but one"
            )
        called = [c.header for c in self.columns.values() if c.header is not None]
        twice = [each for each in called if called.count(each) > 1 or each in self.columns]
        if twice:
            raise ValueError(f"header {twice[0]!r} names two columns; give each a header of its own")
        newest = max(max(c.since, c.deprecated or 1) for c in self.columns.values())
        if newest > self.version:
            raise ValueError(f"a column speaks of version {newest}, but version is {self.version}; raise it")
        return self


def _is_zone(name: str) -> bool:
    try:
        return bool(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
