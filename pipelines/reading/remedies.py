"""What would take a value that was refused: the setting or the command, and only one that does."""

import json
import re
from datetime import datetime

from pipelines.catalog import DatasetSpec
from pipelines.reading.schema import WIDER

NUMBER = re.compile(r"-?\d+(\.\d*)?([eE][+-]?\d+)?")
LONG = re.compile(r"-?\d{16,}")
VALUE = re.compile(r"(?P<name>\w+): (?P<value>.*?) is not ", re.DOTALL)
MARKS = frozenset(
    (
        r"\n",
        "null",
        "none",
        "nil",
        "na",
        "n/a",
        "#n/a",
        "nan",
        "-",
        "--",
        "?",
        "inf",
        "-inf",
        "infinity",
        "-infinity",
    )
)
"""What other systems write where there is no value, in lower case."""
OTHERWISE = ("`", "written as", "UTF-8")
"""What a reason says that names its own remedy, or has none."""
TIME = re.compile(r"-?\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?")
LATE = re.compile(r"9999-12-31.*|\d{5,}-.*")


def setting(spec: DatasetSpec, rule: str, reason: str) -> str:
    """The setting that would take a text as it stands, to be added to the reason; empty if there is none."""
    found = VALUE.match(reason)
    if found is None or rule not in WIDER:
        return ""
    name, value = found["name"], found["value"]
    column = spec.columns[name]
    if value.lower() in MARKS or (column.type == "timestamp" and LATE.fullmatch(value)):
        return _no_value(spec, name, value)
    if value != value.strip(" \t") and not spec.trim:
        return f"; `trim: true` in {spec.name}.yaml drops blanks around values"
    return _time_setting(spec, name, value) if column.type == "timestamp" else ""


def _time_setting(spec: DatasetSpec, name: str, value: str) -> str:
    from pipelines.reading.times import pattern, zone_setting

    column, local = spec.columns[name], re.fullmatch(pattern("cut", zone=False), value)
    if not _is_moment(value):
        return ""
    if local and column.timezone is None:
        return f"; {zone_setting(spec, name)}"
    if column.nanoseconds == "refuse" and _is_finer(value):
        return f"; `nanoseconds: cut` on {name} in {spec.name}.yaml drops what is finer than microseconds"
    return f"; the clocks of {column.timezone} skip or repeat it: write it with its zone" if local else ""


def _is_moment(value: str) -> bool:
    """Whether a text begins with a day and a time that exist, in the years that count."""
    from pipelines.reading.times import FIRST_YEAR, LAST_YEAR

    try:
        return FIRST_YEAR <= datetime.fromisoformat(value[:16].upper()).year <= LAST_YEAR
    except ValueError:
        return False


def _is_finer(value: str) -> bool:
    """Whether a time would be taken but for digits beyond the microsecond."""
    from pipelines.reading.times import pattern

    exact, any_finer = ([pattern(how, zone) for zone in (True, False)] for how in ("refuse", "cut"))
    return _fits(any_finer, value) and not _fits(exact, value)


def _fits(forms: list[str], value: str) -> bool:
    return any(re.fullmatch(form, value) for form in forms)


def _no_value(spec: DatasetSpec, name: str, value: str) -> str:
    """How a mark of no value becomes one, where the column can be without."""
    column, known = spec.columns[name], json.dumps([*spec.null_values, value], ensure_ascii=False)
    if name in (*spec.key, spec.event_time, spec.available_at):
        return ""
    empty = "" if column.nullable else f" and, on {name}, `nullable: true` with `version: {spec.version + 1}`"
    return f"; if it stands for no value, `null_values: {known}`{empty} in {spec.name}.yaml takes it"


def command(spec: DatasetSpec, rule: str, reason: str) -> str:
    """The command that would accept a column whose values are of another type now; empty if there is none."""
    found = VALUE.match(reason)
    if found is None or any(said in reason for said in OTHERWISE) or found["name"] not in spec.columns:
        return ""
    name, value = found["name"], found["value"]
    kind = (
        "float" if rule == "integer" and NUMBER.fullmatch(value) and not LONG.fullmatch(value) else "string"
    )
    if kind not in WIDER.get(rule, ()) or not _may_change(spec, name, value):
        return ""
    told = f"`evergreen schema widen {spec.name} {name} --to {kind}` accepts it"
    return f"; if {name} has changed on purpose, {told}{_besides(spec, kind, name)}"


def _may_change(spec: DatasetSpec, name: str, value: str) -> bool:
    """Whether another type is the answer to such a value: not where it is a wrong time, or none at all."""
    needed = name in (spec.event_time, spec.available_at)
    return not needed and value.lower() not in MARKS and TIME.fullmatch(value) is None


def _besides(spec: DatasetSpec, kind: str, name: str) -> str:
    """What else must be so before a column of another type can be one of texts."""
    if kind != "string":
        return ""
    return (
        f" (in Parquet, written as string), once expectations/{spec.name}.json asks nothing of {name}"
        " that a text cannot answer"
    )
