"""A carrier at the origin."""

from datetime import timedelta

from entities import carrier, origin
from feast import FeatureView, Field, FileSource
from feast.data_format import DeltaFormat
from feast.types import Float64, String

carrier_delays = FeatureView(
    name="carrier_delays",
    description="A carrier's departures from the origin over the last hours and week.",
    owner="flight-operations",
    entities=[origin, carrier],
    ttl=timedelta(hours=6),
    schema=[
        Field(name="origin", dtype=String),
        Field(name="carrier", dtype=String),
        Field(
            name="mean_departure_delay_3h", dtype=Float64, description="minutes, each capped at 180, last 3h"
        ),
        Field(name="late_share_3h", dtype=Float64, description="share 15 or more minutes late, last 3h"),
        Field(
            name="mean_departure_delay_24h",
            dtype=Float64,
            description="minutes, each capped at 180, last 24h",
        ),
        Field(name="late_share_24h", dtype=Float64, description="share 15 or more minutes late, last 24h"),
        Field(
            name="mean_departure_delay_7d", dtype=Float64, description="minutes, each capped at 180, last 7d"
        ),
        Field(name="late_share_7d", dtype=Float64, description="share 15 or more minutes late, last 7d"),
    ],
    source=FileSource(
        name="carrier_delays",
        path="features/carrier_delays",
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
)
