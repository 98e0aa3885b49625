"""Age and size of aircraft."""

from datetime import timedelta

from entities import tailnum
from feast import FeatureView, Field, FileSource
from feast.data_format import DeltaFormat
from feast.types import Float64, String

aircraft = FeatureView(
    name="aircraft",
    description="The aircraft's year and size.",
    owner="fleet",
    entities=[tailnum],
    ttl=timedelta(days=0),
    schema=[
        Field(name="tailnum", dtype=String),
        Field(name="year", dtype=Float64, description="year it was made"),
        Field(name="seats", dtype=Float64, description="how many seats"),
        Field(name="engines", dtype=Float64, description="how many engines"),
    ],
    source=FileSource(
        name="aircraft",
        path="features/aircraft",
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
)
