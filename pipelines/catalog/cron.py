"""When a schedule ticks."""

from datetime import UTC, datetime


def ticks(schedule: str) -> list[datetime]:
    """The times of day of a five-field cron, on one day of each month; none if it is written otherwise."""
    fields = schedule.split()
    if len(fields) != 5:
        return []
    minutes, hours = _values(fields[0], 60), _values(fields[1], 24)
    months = range(1, 13)
    return [
        datetime(2024, m, 15, hour, minute, tzinfo=UTC)
        for m in months
        for hour in hours
        for minute in minutes
    ]


def _values(field: str, size: int) -> list[int]:
    """What one field of a cron names: *, 5, 1-5, */15 or 1-30/5, and lists of them."""
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if not all(number.isdigit() for number in (first, last, step) if number not in {"", "*"}):
            return []
        start = 0 if first == "*" else int(first)
        end = int(last) if dash else size - 1 if first == "*" or step else start
        found.update(range(start, end + 1, int(step or 1)))
    return sorted(found)
