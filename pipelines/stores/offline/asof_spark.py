"""The point-in-time join on Spark: executors read the history, and the driver gets one row for each question.

The rule is that of asof.py. Rows and questions of a key lie in the order of their moments; what has been seen up to a
question is told by a running maximum of (event time, knowledge time, content), which never shuffles a key twice.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.contracts import EvergreenError
from pipelines.stores.offline.asof import Asked
from pipelines.stores.offline.history import History
from pipelines.stores.offline.sources import Source
from pipelines.stores.spark.relations import Snapshot, plain, read, sent

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

AUTO, SPARK = "auto", "spark"
SEEN = "max(best) over (partition by {keys} order by at, question rows between unbounded preceding and current row)"


def chosen(settings: Any, source: Source) -> bool:
    """Whether a question to a source is answered on Spark: by setting, and where that says `auto`, by its rows."""
    if settings.engine not in (AUTO, SPARK) or not source.is_delta():
        return False
    return bool(settings.engine == SPARK or _rows(source) >= settings.spark_rows)


def values(
    settings: Any, source: Source, history: History, asked: Asked, columns: Mapping[str, str]
) -> pa.Table:
    """The columns, under new names, of the row that answers each question; nulls where none does."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    from pipelines.stores.spark.sessions import check_reaches, first_line, fresh

    session = fresh(settings.spark_master, settings.spark_conf)
    check_reaches(session, source.uri)
    try:
        found = _joined(session, source, history, asked, list(columns.values())).toArrow()
    except (PySparkException, Py4JError) as error:
        raise EvergreenError(f"Spark could not join {source.name}: {first_line(error)}") from error
    kinds = [history.rows.schema.field(old).with_name(new) for new, old in columns.items()]
    return _in_order(found, len(asked.moments), pa.schema(kinds))


def _rows(source: Source) -> int:
    counts = pa.table(source.table().get_add_actions(flatten=True))["num_records"].to_pylist()
    return sum(count or 0 for count in counts)


def _joined(
    session: "SparkSession", source: Source, history: History, asked: Asked, wanted: list[str]
) -> "DataFrame":
    """(row, f0, f1, ...) of each question that could have an answer."""
    keys = [f"k{n}" for n in range(len(history.keys))]
    read(session, Snapshot.of(source.table())).createOrReplaceTempView("history")
    sent(session, _questions(history, asked)).createOrReplaceTempView("questions")
    session.sql(_seen(history, keys, asked)).createOrReplaceTempView("rows")
    listed = "".join(f"{key}, " for key in keys)
    session.sql(
        f"select {listed}at, 0 as question, null as row, null as oldest, best from rows union all"
        f" select {listed}at, 1, row, oldest, null from questions"
    ).createOrReplaceTempView("entries")
    seen = SEEN.format(keys=", ".join(keys) or "0")
    session.sql(f"select row, oldest, question, {seen} as best from entries").createOrReplaceTempView(
        "answered"
    )
    fields = "".join(
        f", if(best.e >= oldest, best.content.{_name(name)}, null) as f{n}" for n, name in enumerate(wanted)
    )
    return session.sql(f"select row{fields} from answered where question = 1")


def _seen(history: History, keys: list[str], asked: Asked) -> str:
    """SQL of the rows that a question may meet: keys, the moment they can be seen, and what decides among them."""
    event, created = (_micros(field.name) for field in (history.event, history.created or history.event))
    named = "".join(f"{_name(old)} as {new}, " for new, old in zip(keys, history.keys, strict=True))
    content = ", ".join(_name(name) for name in sorted(history.rows.schema.names))
    last, first = int(asked.moments[asked.known].max()), int(asked.oldest[asked.known].min())
    present = "".join(f" and {key} is not null" for key in keys)
    return (
        f"select {''.join(f'{key}, ' for key in keys)}greatest(e, c) as at, struct(e, c, content) as best"
        f" from (select {named}{event} as e, {created} as c, struct({content}) as content from history)"
        f" where e <= {_number(last)} and c <= {_number(last)} and e >= {_number(first)}{present}"
    )


def _questions(history: History, asked: Asked) -> pa.Table:
    """Questions that can have an answer, with keys as the history has them."""
    present = np.flatnonzero(
        asked.known & np.logical_and.reduce([_valid(key) for key in asked.keys] or [True])
    )
    rows = {"row": present, "at": asked.moments[present], "oldest": asked.oldest[present]}
    taken = {f"k{n}": key.take(pa.array(present)) for n, key in enumerate(asked.keys)}
    kinds = plain(pa.schema([history.rows.schema.field(name) for name in history.keys])).types
    try:
        keys = {name: key.cast(kind) for (name, key), kind in zip(taken.items(), kinds, strict=True)}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise EvergreenError(
            f"entity rows' keys and the source's columns {', '.join(history.keys)} are not of one type: {error}"
        ) from error
    return pa.table({**keys, **{name: pa.array(column, pa.int64()) for name, column in rows.items()}})


def _valid(key: pa.ChunkedArray) -> Any:
    return key.is_valid().to_numpy()


def _in_order(found: pa.Table, count: int, schema: pa.Schema) -> pa.Table:
    """One row for each question, in their order."""
    places = np.full(count, -1, dtype=np.int64)
    places[found["row"].to_numpy()] = np.arange(found.num_rows)
    values = found.drop_columns(["row"]).rename_columns(schema.names)
    times = [pa.timestamp("us") if pa.types.is_timestamp(kind) else kind for kind in values.schema.types]
    values = values.cast(pa.schema(list(zip(schema.names, times, strict=True)))).cast(schema)
    return values.combine_chunks().take(pa.array(places, mask=places < 0))


def _number(number: int) -> str:
    """A number as Spark reads it, which has no literal for the least of 64 bits."""
    return f"cast('{number}' as bigint)"


def _micros(name: str) -> str:
    """A naive time as microseconds since 1970."""
    return f"unix_micros(cast({_name(name)} as timestamp_ltz))"


def _name(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
