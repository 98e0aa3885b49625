"""Rules of the SQL on Spark: each construct gives DuckDB's values to the last bit, or is refused by name."""

import math
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.contracts import EvergreenError

pytest.importorskip("pyspark", reason="pyspark is not installed: locks/spark.txt has it")
pytest.importorskip("sqlglot", reason="sqlglot is not installed: locks/spark.txt has it")

from pipelines.features import spark
from pipelines.features.dialects import spark_sql, translate
from pipelines.features.spark import SparkSilver

SMALL = {"spark.sql.shuffle.partitions": "1", "spark.sql.adaptive.enabled": "false"}
WINDOW = {"start": datetime(2012, 12, 31, 5, 7, tzinfo=UTC), "end": datetime(2013, 1, 3, tzinfo=UTC)}
SCHEMA = pa.schema([
    ("k", pa.string()), ("t", pa.timestamp("us")), ("i", pa.int64()), ("d", pa.int64()), ("x", pa.float64()),
])  # fmt: skip
EDGES = [datetime.fromisoformat(text) for text in (
    "1960-02-29 23:59:59.999999", "1969-12-31 23:59:59.999999", "1970-01-01", "2000-01-03",
    "2000-01-02 23:59:59.999999", "2013-01-01", "2013-01-01 00:00:00.000001", "2013-01-01 12:00",
    "2016-02-29 01:00",
)]  # fmt: skip
BOUNDS = datetime.fromisoformat("1900-01-01"), datetime.fromisoformat("2100-01-01")
TIMES = st.sampled_from(EDGES) | st.datetimes(*BOUNDS)
# Floats whose sums are exact in any order, so that they must agree to the bit.
HALVES = st.integers(-4000, 4000).map(lambda n: n / 8) | st.sampled_from([0.0, -0.0, 1.005, 2.5, -2.5])
ROW = st.tuples(
    st.sampled_from(["a", "b", "", None]), TIMES | st.none(), st.integers(-50, 50) | st.none(),
    st.integers(-3, 3) | st.none(), HALVES | st.none(),
)  # fmt: skip
BIG = [
    ("a", EDGES[5], 1, 1, 1.5), ("a", EDGES[6], 2**40, 0, -2.5), ("a", EDGES[5], None, 2, None),
    ("b", EDGES[0], -7, -3, 0.5), ("b", None, 0, None, math.nan), (None, EDGES[3], 3, 4, math.inf),
    ("a", EDGES[7], -7, 5, -math.inf), ("z", EDGES[8], 9, -2, -0.0), ("z", EDGES[4], 9, -2, 0.0),
]  # fmt: skip

VALUES = """
i / d; x / d; d / x; x / x; i // d; i % d; x % d; d % x; i * 0.1; d * 0.5 + 1.25; -i; i - d * 2
least(i, d); greatest(i, x, d); least(x, 1); greatest(i, null); least(t, $start); nullif(d, 2); coalesce(i, x)
round(x); round(x, 2); round(d / 3.0, 3); round(d * 0.25, 1); floor(x); ceil(x); floor(x * 0.3); abs(x); sign(x)
sqrt(abs(x)); isnan(x); isinf(x); cast(i as double); cast(d * 0.5 as integer); cast(d as decimal(9, 2)) * 1.5
cast(case when abs(x) < 1000 then x end as integer); cast(case when abs(x) < 1000 then x end as decimal(9, 2))
case when i > 1 then 1 when i < 0 then 2.5 end; case k when 'a' then i else x end; if(i > 1, 'p', 'q')
k || 'x'; concat(k, 'x', i); upper(k); length(k); substr(k, 1, 1); k like 'a%'; k in ('a', 'c'); i in (1, 2.0)
i between 0 and 2.5; k is not distinct from null; x is distinct from i; x > 1; x = 'nan'::double; i = 2.0
t > '2012-01-01'; cast(t as date); cast(i as varchar); cast(t as varchar); cast(cast(t as date) as timestamp)
time_bucket(interval 1 week, t); time_bucket(interval 7 hours, t); time_bucket(interval 15 minutes, t)
time_bucket(interval 1 month, t); time_bucket(interval 5 months, t); time_bucket(interval 2 days, cast(t as date))
time_bucket(interval 10 days, t, interval 3 days); time_bucket(interval 10 days, t, timestamp '2001-01-01')
date_trunc('hour', t); date_trunc('week', t); date_trunc('quarter', t); date_trunc('month', cast(t as date))
extract(dow from t); isodow(t); hour(t); minute(t); second(t); week(t); dayofyear(t); quarter(t); epoch(t)
extract(millisecond from t); epoch(t - $start); t + interval 1 month; t - interval '1 day 2 hours'
t + interval (d) hour; t + d * interval 1 minute; t - to_days(d); cast(t as date) + 3
cast(t as date) + interval 1 hour; cast(t as date) - date '2013-01-01'; t - $start > interval 2 hours
date_diff('hour', t, $start); date_diff('week', t, $start); date_diff('month', t, $start)
date_diff('quarter', t, $start); date_diff('day', t, $start); t between $start and $end + interval 2 days
"""
WINDOWS = """
sum(i) over (partition by k order by t range between interval 5 hours preceding and current row)
sum(i) over (partition by k order by t desc range between interval 1 day preceding and interval 1 hour following)
sum(i) over (order by cast(t as date) range between interval 1 day preceding and current row)
sum(i) over (order by d range between 2 preceding and 1 following)
avg(i) over (order by t, i, x, d, k rows between 2 preceding and 1 following)
avg(i) over (order by t range between unbounded preceding and interval 1 microsecond preceding)
count(*) over (order by t range between interval 1 microsecond following and unbounded following)
count(*) filter (where i > 1) over (partition by k order by t)
sum(d) filter (where i > 1) over (partition by k)
count(distinct d) over (partition by k order by t)
min(x) over (partition by k order by t); max(t) over (order by d); median(i) over (partition by k)
row_number() over (order by t desc, i, x desc, d, k); rank() over (order by k desc); dense_rank() over (order by x)
rank() over (partition by k order by t nulls first); percent_rank() over (order by d); cume_dist() over (order by d)
ntile(3) over (order by t, i, x, d, k); first_value(k) over (partition by k order by t)
lag(i) over (order by t, i, x, d, k); lead(x, 2) over (partition by k order by t desc, i desc, x, d)
lag(d, 1, 0) over (partition by k order by t, i, x, d); last_value(t) over (order by t nulls first)
last_value(i ignore nulls) over (order by t, i, x, d, k)
nth_value(d, 2) over (order by t, i, x, d, k)
sum(i) over w / sum(d) over w; avg(d) over w % 2.0; round(avg(d) over w, 1); floor(avg(i) over w)
sqrt(count(*) over w); t - lag(t) over (order by t, i, x, d, k) > interval 1 day; sum(d) over w // count(i) over w
"""
QUERIES = """
select k, sum(i) s, avg(i) m, count(*) n, min(t), max(k), avg(d) filter (where d > 1) f from a group by all
select k, sum(i > 1), count_if(i > 1), bool_and(i > 0), bool_or(i > 0), median(i), avg(d / 2.0) from a group by k
select k as kk, count(distinct i), sum(i * 1.5), avg(i * 1.25) from a group by kk having count(*) > 1
select time_bucket(interval 1 day, t) as b, sum(i) / sum(d) as r from a group by 1
select avg(i), count(i), count_if(i > 1), sum(i), max(i) from a where false
select k, sum(i) filter (where d > 0) / count(*) filter (where d > 0) as r from a group by k
select k, i - avg(i) over (partition by k) as dev, (i = max(i) over (partition by k))::int as top from a
select b.k, max(a.i) as m from a join a as b on a.k = b.k and a.t between b.t - interval 6 hours and b.t group by all
select distinct k, i > 1 as y from a
select distinct on (k) k, d, i from a order by k, d desc, i
select k, i, d from a qualify rank() over (partition by k order by d) = 1
select k, sum(i) over w as s, s + 1 as more from a window w as (partition by k order by d) qualify s > 2
select k, i + 1 as j, j * 2 as jj from a where j > 2
select k, row_number() over (partition by k order by t desc, i, d, x) as r from a qualify r = 1
select a.* exclude (x), b.i as bi from a join a as b on a.d = b.i
select a.k, b.d from a left join a as b using (k); select a.k, b.d from a full join a as b on a.i = b.d
select * from a semi join (select distinct d as i from a) using (i)
select k, d from a where not exists (select 1 from a as b where b.k = a.k and b.i > a.i)
select k, d from a where d in (select i from a); select k from a where x > 1 or x = 'nan'::double
select k, (select max(b.d) from a as b where b.k = a.k) as m from a
select unnest(generate_series(time_bucket(interval 6 hours, $start), $end, interval 6 hours)) as t
select unnest(range($start, $end, interval 1 day)) as t; select g, k from a, range(3) s(g)
select unnest(generate_series($end, $start, interval 1 day)) as t; select unnest([1, 2, null]) as z
select k, i from a union all select null, x from a; select k, null as u from a union select k, d from a
select k from a except select k from a where d > 1; select k, i, d from a order by d desc, i, k limit 3
select k, sum(sum(i)) over () as s, rank() over (order by sum(d)) as r from a group by k
select 'o''b\\n' as z, 1e3 as e, 0.5 as h, 3000000000 as b, null as n, $start as s
select k, max(t) - min(t) > interval 1 hour as w, epoch(max(t) - min(t)) / 3600 as h from a group by k
with b as (select k, i from a), c(kk, ii) as (select * from b) select kk, b.i from c left join b on k = kk and i >= ii
"""
CLOSE = """
ln(abs(d) + 1); log10(abs(d) + 1); exp(d); sin(d); cos(2 * pi() * hour(t) / 24); pow(abs(d), 0.5)
sum(x) over (partition by k order by t); avg(x) over (partition by k order by t)
stddev(d) over (partition by k order by t); var_pop(d) over (partition by k); stddev_pop(i) over (order by t)
"""
REFUSED = {
    "random() from a": "RANDOM", "now() from a": "NOW", "list(i) from a": "LIST|ARRAY_AGG",
    "arg_max(k, i) from a": "ARG_MAX", "any_value(i) from a": "ANY_VALUE", "first(i) from a": "FIRST",
    "hash(k) from a": "HASH", "strftime(t, '%Y') from a": "STRFTIME", "k from a limit 2": "LIMIT",
    "regexp_matches(k, 'a') from a": "REGEXP", "try_cast(k as integer) from a": "TRY_CAST",
    "cast(x as varchar) from a": "CAST.*VARCHAR", "k from a using sample 5": "SAMPLE",
    "row_number() over () from a": "ROW_NUMBER.*ORDER BY", "x from a group by rollup (x)": "ROLLUP",
    "a.i from a asof join a as b on a.t >= b.t": "ASOF",
    "unnest(generate_series($start, $end, interval 1 month))": "days or less",
    "sum(i) over (order by t rows between 1 preceding and current row exclude current row) from a": "EXCLUDE",
    "sum(i) over (order by t groups between 1 preceding and current row) from a": "ROWS or RANGE",
    "k from a where t > timestamptz '2013-01-01'": "TIMESTAMPTZ|TIMESTAMP WITH TIME ZONE|type",
    "[i, d] from a": "\\[i, d\\]", "columns('i|d') from a": "COLUMNS", "x // 2 from a": "//", "k & 1 from a": "&",
    "k like '%\\%' from a": "backslash", "nosuch from a": "nosuch", "k from nowhere": "nowhere",
    "k from a; select 1": "one SELECT", "$other from a": "\\$other", "x from": "",
}  # fmt: skip


def lines(text: str) -> list[str]:
    found = text.strip().splitlines()
    assert len(found) > 2
    return found


def listed(text: str) -> list[str]:
    return [part.strip() for line in lines(text) for part in line.split("; ")]


@pytest.fixture(scope="module")
def silver() -> Iterator[SparkSilver]:
    spark.stop()  # another file's, whose Java goes on
    try:
        found = SparkSilver(master="local[2]", conf=SMALL)
    except EvergreenError as error:
        pytest.skip(str(error))
    with found:
        yield found
    spark.stop()


def table(rows: list[tuple[Any, ...]]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)


def by_duckdb(sql: str, rows: pa.Table) -> pa.Table:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("create table a as from rows")
        used = {name: moment.replace(tzinfo=None) for name, moment in WINDOW.items() if f"${name}" in sql}
        return connection.execute(sql, used).to_arrow_table()


def bits(value: Any) -> Any:
    """A float by its bits. NaN is NaN; 0 is -0, for DuckDB drops that sign wherever it sorts."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else (value + 0.0).hex()
    return value


def bag(answer: pa.Table) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(bits(value) for value in row.values()) for row in answer.to_pylist())


def agree(sql: str, rows: pa.Table, silver: SparkSilver) -> None:
    ours, theirs = by_duckdb(sql, rows), silver.query(sql, WINDOW)
    assert theirs.schema == ours.schema, sql
    assert bag(theirs) == bag(ours), sql


def selected(expressions: list[str]) -> str:
    named = ", ".join(f"{text} as c{n}" for n, text in enumerate(expressions))
    return f"select {named}, k, t, i, d, x from a window w as (partition by k order by t)"


@pytest.mark.parametrize("line", lines(VALUES) + lines(WINDOWS))
def test_an_expression_has_the_same_value(line: str, silver: SparkSilver) -> None:
    rows = table(BIG)
    silver.register("a", rows)
    agree(selected(line.split("; ")), rows, silver)


@pytest.mark.parametrize("sql", listed(QUERIES))
def test_a_query_has_the_same_answer(sql: str, silver: SparkSilver) -> None:
    rows = table(BIG)
    silver.register("a", rows)
    agree(sql, rows, silver)


@given(rows=st.lists(ROW, min_size=1, max_size=12), line=st.sampled_from(lines(VALUES) + lines(WINDOWS)))
@settings(max_examples=10, suppress_health_check=list(HealthCheck))
def test_expressions_have_the_same_values_of_any_rows(
    rows: list[tuple[Any, ...]], line: str, silver: SparkSilver
) -> None:
    found = table(rows)
    silver.register("a", found)
    agree(selected(line.split("; ")), found, silver)


@given(rows=st.lists(ROW, max_size=12), sql=st.sampled_from(listed(QUERIES)))
@settings(max_examples=10, suppress_health_check=list(HealthCheck))
def test_queries_have_the_same_answers_of_any_rows(
    rows: list[tuple[Any, ...]], sql: str, silver: SparkSilver
) -> None:
    found = table(rows)
    silver.register("a", found)
    agree(sql, found, silver)


def test_what_mathematics_rounds_differs_in_the_last_place_only(silver: SparkSilver) -> None:
    rows = table([row for row in BIG if row[4] is not None and math.isfinite(row[4])])
    assert rows.num_rows > 4
    silver.register("a", rows)
    for text in listed(CLOSE):
        sql = f"select {text} as c from a"
        ours, theirs = (
            answer["c"].to_pylist() for answer in (by_duckdb(sql, rows), silver.query(sql, WINDOW))
        )
        assert [v is None for v in sorted(ours, key=str)] == [v is None for v in sorted(theirs, key=str)]
        pairs = zip(*(sorted(v for v in side if v is not None) for side in (ours, theirs)), strict=True)
        assert all(math.isclose(a, b, rel_tol=1e-12, abs_tol=0) for a, b in pairs), text


@pytest.mark.parametrize("text", ["sqrt(i)", "ln(d)", "k::integer", "x::bigint", "i * 9000000000000000000"])
def test_what_fails_on_duckdb_fails_on_spark(text: str, silver: SparkSilver) -> None:
    rows = table(BIG)
    silver.register("a", rows)
    with pytest.raises(duckdb.Error):
        by_duckdb(f"select {text} from a", rows)
    with pytest.raises(EvergreenError, match="could not compute"):
        silver.query(f"select {text} from a", WINDOW)


@pytest.mark.parametrize("text", REFUSED)
def test_what_has_no_equal_is_refused_by_name(text: str) -> None:
    with pytest.raises(EvergreenError, match=f"(?is){REFUSED[text]}"):
        translate(f"select {text}", WINDOW, {"a": SCHEMA})


def test_letters_beyond_ascii_end_a_query_that_would_change_their_case(silver: SparkSilver) -> None:
    silver.register("a", table([("straße", None, 1, 1, 1.0)]))
    with pytest.raises(EvergreenError, match="beyond ASCII"):
        silver.query("select upper(k) from a")


def test_a_query_over_the_catalog_needs_no_schema() -> None:
    text = spark_sql(
        "select carrier, count(*) as n from flights where available_at > $start group by all", WINDOW
    )
    assert "TIMESTAMP_NTZ '2012-12-31 05:07:00.000000'" in text
    assert "GROUP BY `carrier`" in text
