"""Congestion at the origin."""

from datetime import timedelta

from entities import origin
from feast import FeatureView, Field, FileSource
from feast.data_format import DeltaFormat
from feast.types import Float64, String

origin_congestion = FeatureView(
    name="origin_congestion",
    description="Departures from the origin over the last hours and their delays.",
    owner="flight-operations",
    entities=[origin],
    ttl=timedelta(hours=6),
    schema=[
        Field(name="origin", dtype=String),
        Field(name="departures_1h", dtype=Float64, description="departures known in the last 1h"),
        Field(
            name="mean_departure_delay_1h", dtype=Float64, description="minutes, each capped at 180, last 1h"
        ),
        Field(name="late_share_1h", dtype=Float64, description="share 15 or more minutes late, last 1h"),
        Field(name="departures_3h", dtype=Float64, description="departures known in the last 3h"),
        Field(
            name="mean_departure_delay_3h", dtype=Float64, description="minutes, each capped at 180, last 3h"
        ),
        Field(name="late_share_3h", dtype=Float64, description="share 15 or more minutes late, last 3h"),
        Field(name="departures_24h", dtype=Float64, description="departures known in the last 24h"),
        Field(
            name="mean_departure_delay_24h",
            dtype=Float64,
            description="minutes, each capped at 180, last 24h",
        ),
        Field(name="late_share_24h", dtype=Float64, description="share 15 or more minutes late, last 24h"),
    ],
    source=FileSource(
        name="origin_congestion",
        path="features/origin_congestion",
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
)
