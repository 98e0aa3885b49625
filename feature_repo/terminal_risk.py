"""How dangerous terminals are."""

from datetime import timedelta

from entities import terminal_id
from feast import FeatureView, Field, FileSource
from feast.data_format import DeltaFormat
from feast.types import Float64, String

terminal_risk = FeatureView(
    name="terminal_risk",
    description="A terminal's payments, and reports of fraud among them, over the last day to month.",
    owner="payments",
    entities=[terminal_id],
    ttl=timedelta(days=28),
    schema=[
        Field(name="terminal_id", dtype=String),
        Field(name="payments_1d", dtype=Float64, description="payments, last day"),
        Field(name="payments_7d", dtype=Float64, description="payments, last 7 days"),
        Field(name="payments_28d", dtype=Float64, description="payments, last 28 days"),
        Field(name="mean_amount_28d", dtype=Float64, description="mean amount, last 28 days"),
        Field(
            name="reports_7d",
            dtype=Float64,
            description="frauds reported in the last 7 days, whenever they happened",
        ),
        Field(
            name="reports_28d",
            dtype=Float64,
            description="frauds reported in the last 28 days, whenever they happened",
        ),
    ],
    source=FileSource(
        name="terminal_risk",
        path="features/terminal_risk",
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
)
