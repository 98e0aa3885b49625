"""What customers pay."""

from datetime import timedelta

from entities import customer_id
from feast import FeatureView, Field, FileSource
from feast.data_format import DeltaFormat
from feast.types import Float64, String

customer_spending = FeatureView(
    name="customer_spending",
    description="A customer's payments, and reports of fraud among them, over the last day to month.",
    owner="payments",
    entities=[customer_id],
    ttl=timedelta(days=30),
    schema=[
        Field(name="customer_id", dtype=String),
        Field(name="payments_1d", dtype=Float64, description="payments, last day"),
        Field(name="payments_7d", dtype=Float64, description="payments, last 7 days"),
        Field(name="payments_30d", dtype=Float64, description="payments, last 30 days"),
        Field(name="mean_amount_1d", dtype=Float64, description="mean amount, last day"),
        Field(name="mean_amount_7d", dtype=Float64, description="mean amount, last 7 days"),
        Field(name="mean_amount_30d", dtype=Float64, description="mean amount, last 30 days"),
        Field(name="max_amount_7d", dtype=Float64, description="largest amount, last 7 days"),
        Field(
            name="reports_30d",
            dtype=Float64,
            description="frauds reported in the last 30 days, whenever they happened",
        ),
    ],
    source=FileSource(
        name="customer_spending",
        path="features/customer_spending",
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
)
