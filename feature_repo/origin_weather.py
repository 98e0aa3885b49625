"""Weather at the origin."""

from datetime import timedelta

from entities import origin
from feast import FeatureView, Field, FileSource
from feast.data_format import DeltaFormat
from feast.types import Float64, String

origin_weather = FeatureView(
    name="origin_weather",
    description="The last full hour of weather at the origin.",
    owner="meteorology",
    entities=[origin],
    ttl=timedelta(hours=6),
    schema=[
        Field(name="origin", dtype=String),
        Field(name="temp", dtype=Float64, description="degrees Fahrenheit"),
        Field(name="dewp", dtype=Float64, description="dew point in degrees Fahrenheit"),
        Field(name="humid", dtype=Float64, description="relative humidity in percent"),
        Field(name="wind_dir", dtype=Float64, description="degrees"),
        Field(name="wind_speed", dtype=Float64, description="miles per hour"),
        Field(name="wind_gust", dtype=Float64, description="miles per hour"),
        Field(name="precip", dtype=Float64, description="inches"),
        Field(name="precip_6h", dtype=Float64, description="inches over six hours"),
        Field(name="pressure", dtype=Float64, description="millibars"),
        Field(name="visib", dtype=Float64, description="miles"),
        Field(name="visib_min_6h", dtype=Float64, description="miles, the worst of six hours"),
    ],
    source=FileSource(
        name="origin_weather",
        path="features/origin_weather",
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
)
