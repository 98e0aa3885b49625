"""Punctuality of carriers."""

from datetime import timedelta

from entities import carrier
from feast import FeatureView, Field, FileSource
from feast.data_format import DeltaFormat
from feast.types import Float64, String

carrier_punctuality = FeatureView(
    name="carrier_punctuality",
    description="A carrier's arrivals over days.",
    owner="network-planning",
    entities=[carrier],
    ttl=timedelta(days=2),
    schema=[
        Field(name="carrier", dtype=String),
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
        name="carrier_punctuality",
        path="features/carrier_punctuality",
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
)
