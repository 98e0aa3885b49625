"""Arrivals at the destination."""

from datetime import timedelta

from entities import dest
from feast import FeatureView, Field, FileSource
from feast.data_format import DeltaFormat
from feast.types import Float64, String

destination_delays = FeatureView(
    name="destination_delays",
    description="Arrivals from New York at the destination over the last hours and days.",
    owner="flight-operations",
    entities=[dest],
    ttl=timedelta(hours=6),
    schema=[
        Field(name="dest", dtype=String),
        Field(
            name="mean_arrival_delay_6h", dtype=Float64, description="minutes, each capped at 180, last 6h"
        ),
        Field(name="late_share_6h", dtype=Float64, description="share 15 or more minutes late, last 6h"),
        Field(
            name="mean_arrival_delay_24h", dtype=Float64, description="minutes, each capped at 180, last 24h"
        ),
        Field(name="late_share_24h", dtype=Float64, description="share 15 or more minutes late, last 24h"),
        Field(
            name="mean_arrival_delay_7d", dtype=Float64, description="minutes, each capped at 180, last 7d"
        ),
        Field(name="late_share_7d", dtype=Float64, description="share 15 or more minutes late, last 7d"),
    ],
    source=FileSource(
        name="destination_delays",
        path="features/destination_delays",
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
)
