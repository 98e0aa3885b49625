"""Where customers live."""

from datetime import timedelta

from entities import customer_id
from feast import FeatureView, Field, FileSource
from feast.data_format import DeltaFormat
from feast.types import Float64, String

customer_home = FeatureView(
    name="customer_home",
    description="Where the customer lives, on a square of 100.",
    owner="payments",
    entities=[customer_id],
    ttl=timedelta(days=0),
    schema=[
        Field(name="customer_id", dtype=String),
        Field(name="x", dtype=Float64, description="from west to east"),
        Field(name="y", dtype=Float64, description="from south to north"),
    ],
    source=FileSource(
        name="customer_home",
        path="features/customer_home",
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
)
