"""An aircraft's last flights."""

from datetime import timedelta

from entities import tailnum
from feast import FeatureView, Field, FileSource
from feast.data_format import DeltaFormat
from feast.types import Float64, String

aircraft_rotation = FeatureView(
    name="aircraft_rotation",
    description="How late the aircraft left New York and arrived, over its last flights.",
    owner="fleet",
    entities=[tailnum],
    ttl=timedelta(hours=12),
    schema=[
        Field(name="tailnum", dtype=String),
        Field(name="mean_departure_delay_12h", dtype=Float64, description="minutes, last 12 hours"),
        Field(name="departures_12h", dtype=Float64, description="departures from New York, last 12 hours"),
        Field(name="mean_arrival_delay_12h", dtype=Float64, description="minutes, last 12 hours"),
        Field(name="last_delay", dtype=Float64, description="minutes, the last one known"),
    ],
    source=FileSource(
        name="aircraft_rotation",
        path="features/aircraft_rotation",
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
)
