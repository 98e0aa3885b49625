"""Where terminals stand."""

from datetime import timedelta

from entities import terminal_id
from feast import FeatureView, Field, FileSource
from feast.data_format import DeltaFormat
from feast.types import Float64, String

terminal_place = FeatureView(
    name="terminal_place",
    description="Where the terminal stands, on a square of 100.",
    owner="payments",
    entities=[terminal_id],
    ttl=timedelta(days=0),
    schema=[
        Field(name="terminal_id", dtype=String),
        Field(name="x", dtype=Float64, description="from west to east"),
        Field(name="y", dtype=Float64, description="from south to north"),
    ],
    source=FileSource(
        name="terminal_place",
        path="features/terminal_place",
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
)
