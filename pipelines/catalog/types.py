"""What every spec is made of: frozen, no unknown keys, durations and times of day as people write them."""

import re
from dataclasses import dataclass
from datetime import time, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

NAME = r"^[a-z][a-z0-9_]*$"
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
DURATION = r"(\d+)([mhd])"
CLOCK = r"([01]\d|2[0-3]):[0-5]\d"


@dataclass(frozen=True)
class Unit:
    """What a number or a text counts in; the reference and the JSON Schema say it."""

    name: str

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {**handler(core), "unit": self.name}


Rows = Annotated[int, Unit("rows")]
Share = Annotated[float, Unit("share, 1 is all")]
Cron = Annotated[str, Unit("cron of five fields, UTC")]


def duration(text: Any) -> Any:
    """A timedelta from 90m, 36h or 7d."""
    match = re.fullmatch(DURATION, text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 30m, 36h or 7d")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


Duration = Annotated[
    timedelta,
    BeforeValidator(duration),
    WithJsonSchema({"type": "string", "pattern": f"^{DURATION}$", "unit": "duration such as 30m, 36h or 7d"}),
]


class Spec(BaseModel):
    """Frozen, and without a key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class File(Spec):
    """What a file says of itself as a whole."""

    format: int = Field(
        1,
        ge=1,
        strict=True,
        description="the form that the file is written in; left out: 1, the oldest. `evergreen upgrade` renews it",
    )


def clock(text: Any) -> Any:
    """A time of day from "06:00"; unquoted, YAML reads 22:00 as the number 1320."""
    if not isinstance(text, str) or re.fullmatch(CLOCK, text) is None:
        raise ValueError(f'{text!r} is not a time of day in quotes such as "06:00"')
    return time.fromisoformat(text)


Clock = Annotated[
    time,
    BeforeValidator(clock),
    WithJsonSchema(
        {"type": "string", "pattern": f"^{CLOCK}$", "unit": 'time of day in quotes, such as "06:00"'}
    ),
]
