"""The same hour of the day at the origin, on the days before."""

from datetime import timedelta

from entities import origin
from feast import FeatureView, Field, FileSource
from feast.data_format import DeltaFormat
from feast.types import Float64, String

MINUTES = "minutes, each flight capped at 180"

origin_hours = FeatureView(
    name="origin_hours",
    description="The hour that begins three hours later, as it was at the origin on the seven days before.",
    owner="airport-operations",
    entities=[origin],
    ttl=timedelta(hours=1),
    schema=[
        Field(name="origin", dtype=String),
        Field(name="departures_yesterday", dtype=Float64, description="flights planned in it that left"),
        Field(name="mean_departure_delay_yesterday", dtype=Float64, description=MINUTES),
        Field(name="departures_week_ago", dtype=Float64, description="flights planned in it that left"),
        Field(name="mean_departure_delay_week_ago", dtype=Float64, description=MINUTES),
        Field(name="departures_7d", dtype=Float64, description="flights planned in it that left, seven days"),
        Field(name="mean_departure_delay_7d", dtype=Float64, description=f"{MINUTES}, seven days"),
        Field(name="late_share_7d", dtype=Float64, description="share 15 or more minutes late, seven days"),
    ],
    source=FileSource(
        name="origin_hours",
        path="features/origin_hours",
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
)
