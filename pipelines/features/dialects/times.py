"""DuckDB's arithmetic of times as Spark SQL. Every time is a naive one, of microseconds."""

from collections.abc import Callable

from sqlglot import exp

from pipelines.features.dialects.types import INTEGERS, Types, refuse, type_of

Emit = Callable[[exp.Expr], str]
UNITS = {
    "MICROSECOND": 1, "MILLISECOND": 1000, "SECOND": 1_000_000, "MINUTE": 60_000_000, "HOUR": 3_600_000_000,
    "DAY": 86_400_000_000, "WEEK": 7 * 86_400_000_000,
}  # fmt: skip
MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}
TIMES = ("TIMESTAMP", "DATE")
ORIGIN = 946_857_600_000_000
"""2000-01-03, a Monday, in microseconds: where DuckDB's buckets begin that are not months."""
PARTS = {
    "YEAR": "year({})", "QUARTER": "quarter({})", "MONTH": "month({})", "DAY": "day({})", "HOUR": "hour({})",
    "MINUTE": "minute({})", "SECOND": "second({})", "DAYOFWEEK": "dayofweek({}) - 1",
    "DAYOFWEEKISO": "weekday({}) + 1", "DAYOFYEAR": "dayofyear({})", "WEEK": "weekofyear({})",
}  # fmt: skip
SAME_PART = {
    "DOW": "DAYOFWEEK", "WEEKDAY": "DAYOFWEEK", "ISODOW": "DAYOFWEEKISO", "DOY": "DAYOFYEAR", "DAYOFMONTH": "DAY",
    "WEEKOFYEAR": "WEEK", "WEEKISO": "WEEK", "YEARS": "YEAR", "MONTHS": "MONTH", "DAYS": "DAY", "HOURS": "HOUR",
    "MINUTES": "MINUTE", "SECONDS": "SECOND", "MILLISECONDS": "MILLISECOND", "MICROSECONDS": "MICROSECOND",
    "WEEKS": "WEEK", "QUARTERS": "QUARTER", "EPOCH_SECOND": "EPOCH",
}  # fmt: skip


def unit_of(text: str) -> str:
    """One name for each unit."""
    name = text.upper()
    return SAME_PART.get(name, name)


class Times:
    """Writes what has times in it; `emit` writes the rest."""

    def __init__(self, types: Types, emit: Emit) -> None:
        self._types = types
        self._emit = emit

    def moment(self, node: exp.Expr) -> str:
        """A DATE or TIMESTAMP as a naive timestamp."""
        if type_of(node) not in TIMES:
            refuse(node, "a DATE or TIMESTAMP is needed here; cast it")
        text = self._emit(node)
        return text if type_of(node) == "TIMESTAMP" else f"CAST({text} AS TIMESTAMP_NTZ)"

    def epoch(self, node: exp.Expr) -> str:
        """Microseconds since 1970 of a time."""
        return f"unix_micros(CAST({self.moment(node)} AS TIMESTAMP_LTZ))"

    def at(self, micros: str) -> str:
        """The time so many microseconds after 1970."""
        return f"CAST(timestamp_micros({micros}) AS TIMESTAMP_NTZ)"

    def span(self, node: exp.Expr) -> str:
        """An interval without months as microseconds."""
        if isinstance(node, exp.Paren):
            return self.span(node.this)
        if node.find(exp.Column) is None:
            months, micros = self._types.interval(node)
            if months:
                refuse(node, "months have no fixed length; use days here")
            return f"{micros}L" if micros >= 0 else f"({micros}L)"
        if isinstance(node, exp.Neg):
            return f"(- {self.span(node.this)})"
        if isinstance(node, exp.Add | exp.Sub):
            return self._sum_of_spans(node)
        if isinstance(node, exp.Mul):
            return self._multiple(node)
        return self._counted(node)

    def _sum_of_spans(self, node: exp.Binary) -> str:
        if type_of(node.left) == "INTERVAL" and type_of(node.right) == "INTERVAL":
            sign = "+" if isinstance(node, exp.Add) else "-"
            return f"({self.span(node.left)} {sign} {self.span(node.right)})"
        if isinstance(node, exp.Sub):
            return f"({self.epoch(node.left)} - {self.epoch(node.right)})"
        return refuse(node, "only intervals and differences of times make an interval here")

    def _multiple(self, node: exp.Binary) -> str:
        sides = sorted((node.left, node.right), key=lambda side: type_of(side) == "INTERVAL")
        if type_of(sides[0]) not in INTEGERS:
            refuse(node, "multiply an interval by an integer")
        return f"({self._emit(sides[0])} * {self.span(sides[1])})"

    def _counted(self, node: exp.Expr) -> str:
        """INTERVAL (n) HOUR and to_hours(n), for whole n."""
        if isinstance(node, exp.Interval):
            count, unit = node.this, unit_of(str(node.args.get("unit")))
        elif isinstance(node, exp.ToDays):
            count, unit = node.this, "DAY"
        elif isinstance(node, exp.Anonymous) and len(node.expressions) == 1:
            count, unit = node.expressions[0], unit_of(node.name[3:])
        else:
            refuse(node, "this interval has no equal on Spark; write INTERVAL (n) HOUR or the like")
        if unit not in UNITS or type_of(count.unnest()) not in INTEGERS:
            refuse(
                node, "only whole weeks, days, hours, minutes, seconds and less can be counted by a column"
            )
        return f"(CAST({self._emit(count)} AS BIGINT) * {UNITS[unit]}L)"

    def shifted(self, node: exp.Binary) -> str:
        """A time plus or minus an interval, or a date and a number of days."""
        left, right = node.left, node.right
        if type_of(left) not in TIMES:
            left, right = right, left
        if type_of(right) in INTEGERS:
            sign = "add" if isinstance(node, exp.Add) else "sub"
            return f"date_{sign}({self._emit(left)}, CAST({self._emit(right)} AS INT))"
        minus = isinstance(node, exp.Sub)
        if right.find(exp.Column) is None:
            return self._shifted_by(self.moment(left), *self._types.interval(right), minus)
        return self.at(f"{self.epoch(left)} {'-' if minus else '+'} {self.span(right)}")

    def _shifted_by(self, moment: str, months: int, micros: int, minus: bool) -> str:
        sign = -1 if minus else 1
        if months:
            moment = f"({moment} + make_ym_interval(0, {sign * months}))"
        return f"({moment} + {day_time(sign * micros)})" if micros or not months else moment

    def part(self, unit: str, node: exp.Expr, whole: exp.Expr) -> str:
        """A part of a time, or how long an interval is in seconds."""
        unit = unit_of(unit)
        if unit == "EPOCH":
            micros = self.span(node) if type_of(node) == "INTERVAL" else self.epoch(node)
            return f"(CAST({micros} AS DOUBLE) / 1000000D)"
        if unit in ("MILLISECOND", "MICROSECOND"):
            return f"(pmod({self.epoch(node)}, 60000000L) div {UNITS[unit]}L)"
        if unit not in PARTS:
            refuse(whole, f"{unit.lower()} has no equal on Spark; have {', '.join(PARTS).lower()} and epoch")
        return f"CAST({PARTS[unit].format(self.moment(node))} AS BIGINT)"

    def truncated(self, node: exp.Expr, unit: str) -> str:
        """date_trunc; weeks begin on Monday."""
        unit = unit_of(unit)
        if unit not in (*UNITS, *MONTHS):
            refuse(node, f"date_trunc to {unit.lower()} has no equal on Spark; use a year or less")
        text = f"CAST(date_trunc('{unit}', {self.moment(node.this)}) AS TIMESTAMP_NTZ)"
        return f"CAST({text} AS DATE)" if type_of(node) == "DATE" else text

    def crossed(self, node: exp.Expr, unit: str, start: exp.Expr, end: exp.Expr) -> str:
        """date_diff: how many borders of the unit lie between two times."""
        unit = unit_of(unit)
        if unit in MONTHS:
            count = "(year({0}) * 12 + month({0}) - 1)"
            first, last = (f"floor({count.format(self.moment(x))} / {MONTHS[unit]}D)" for x in (start, end))
            return f"CAST({last} - {first} AS BIGINT)"
        if unit not in UNITS:
            refuse(node, f"date_diff in {unit.lower()} has no equal on Spark; use a year or less")
        if unit == "WEEK":  # DuckDB counts whole weeks between the days, not Mondays
            return f"(CAST(datediff({self.moment(end)}, {self.moment(start)}) AS BIGINT) div 7L)"
        width = UNITS[unit]
        first, last = (_floored(self.epoch(x), width) for x in (start, end))
        return f"(({last} - {first}) div {width}L)"

    def bucket(self, node: exp.Expr) -> str:
        """time_bucket, with DuckDB's origins: 2000-01-03, and 2000-01-01 for months."""
        moment, given = node.args["expression"], list(node.args.values())[2:]
        extra = next((arg for arg in given if isinstance(arg, exp.Expr)), None)
        months, micros = self._types.interval(node.this)
        if months:
            return self._bucket_of_months(node, moment, months, bool(micros or extra))
        start, end = self.epoch(moment), ""
        if extra is not None and type_of(extra) == "INTERVAL":
            start, end = f"({start} - {self.span(extra)})", f" + {self.span(extra)}"
        origin = self.epoch(extra) if extra is not None and not end else f"{ORIGIN}L"
        found = self.at(f"{origin} + {_floored(f'({start} - {origin})', micros)}{end}")
        return f"CAST({found} AS DATE)" if type_of(node) == "DATE" else found

    def _bucket_of_months(self, node: exp.Expr, moment: exp.Expr, months: int, more: bool) -> str:
        if more:
            refuse(node, "a bucket of months takes neither days nor an origin; leave them out")
        since = f"((year({self.moment(moment)}) - 2000) * 12 + month({self.moment(moment)}) - 1)"
        found = f"add_months(DATE '2000-01-01', {since} - pmod({since}, {months}))"
        return found if type_of(node) == "DATE" else f"CAST({found} AS TIMESTAMP_NTZ)"

    def series(self, node: exp.Expr) -> str:
        """generate_series and range as an array; empty where the end lies before the start."""
        first, last, step = node.args.get("start"), node.args.get("end"), node.args.get("step")
        if last is None:
            first, last = exp.Literal.number(0), first
            return self._counting("0L", f"CAST({self._emit(last)} AS BIGINT)", "1L", node)
        if type_of(first) in INTEGERS and (step is None or type_of(step) in INTEGERS):
            by = 1 if step is None else self._types.constant(step)
            start, end = (f"CAST({self._emit(side)} AS BIGINT)" for side in (first, last))
            return self._counting(start, end, f"{by}L", node)
        if step is None or type_of(first) not in TIMES:
            refuse(node, "a series is of integers, or of times with a step")
        months, micros = self._types.interval(step)
        if months or micros <= 0:
            refuse(node, "a series of times needs a step of days or less, and forward")
        start, end = self.moment(first), self.moment(last)
        return self._guarded(start, end, f"sequence({start}, {end}, {day_time(micros)})", node)

    def _counting(self, start: str, end: str, by: str, node: exp.Expr) -> str:
        if by.startswith(("-", "0")):
            refuse(node, "a series needs a step that is a positive constant")
        return self._guarded(start, end, f"sequence({start}, {end}, {by})", node)

    def _guarded(self, start: str, end: str, series: str, node: exp.Expr) -> str:
        if node.args.get("is_end_exclusive"):
            series = f"filter({series}, x -> x < {end})"
        return f"CASE WHEN {start} <= {end} THEN {series} END"


def day_time(micros: int) -> str:
    """A Spark interval of so many microseconds."""
    sign, size = ("-" if micros < 0 else ""), abs(micros)
    return f"INTERVAL {sign}'{size // 1_000_000}.{size % 1_000_000:06}' SECOND"


def _floored(micros: str, width: int) -> str:
    return f"({micros} - pmod({micros}, {width}L))"
