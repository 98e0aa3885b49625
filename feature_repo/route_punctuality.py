"""Punctuality of routes."""

from datetime import timedelta

from entities import dest, origin
from feast import FeatureView, Field, FileSource
from feast.data_format import DeltaFormat
from feast.types import Float64, String

route_punctuality = FeatureView(
    name="route_punctuality",
    description="A route's arrivals over days.",
    owner="network-planning",
    entities=[origin, dest],
    ttl=timedelta(days=2),
    schema=[
        Field(name="origin", dtype=String),
        Field(name="dest", dtype=String),
        Field(
            name="mean_arrival_delay_1d", dtype=Float64, description="minutes, each capped at 180, last 1d"
        ),
        Field(name="late_share_1d", dtype=Float64, description="share 15 or more minutes late, last 1d"),
        Field(
            name="mean_arrival_delay_7d", dtype=Float64, description="minutes, each capped at 180, last 7d"
        ),
        Field(name="late_share_7d", dtype=Float64, description="share 15 or more minutes late, last 7d"),
    ],
    source=FileSource(
        name="route_punctuality",
        path="features/route_punctuality",
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
)
