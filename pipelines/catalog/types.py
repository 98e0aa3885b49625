"""What every spec is made of: frozen, no unknown keys, durations and times of day as people write them."""

import re
from datetime import time, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

NAME = r"^[a-z][a-z0-9_]*$"
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def duration(text: Any) -> Any:
    """A timedelta from 90m, 36h or 7d."""
    match = re.fullmatch(r"(\d+)([mhd])", text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 30m, 36h or 7d")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


Duration = Annotated[timedelta, BeforeValidator(duration)]


class Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def clock(text: Any) -> Any:
    """A time of day from "06:00"; unquoted, YAML reads 22:00 as the number 1320."""
    if not isinstance(text, str) or re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text) is None:
        raise ValueError(f'{text!r} is not a time of day in quotes such as "06:00"')
    return time.fromisoformat(text)


Clock = Annotated[time, BeforeValidator(clock)]
