"""What DuckDB makes of a query: its answer's columns, and the type of every expression in it."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NoReturn

import duckdb
import pyarrow as pa
from sqlglot import exp

from pipelines.contracts import EvergreenError

ALL_ROWS = (exp.Select, exp.SetOperation)
NO_VALUE: tuple[Any, ...] = (
    exp.DataType, exp.Var, exp.Identifier, exp.WindowSpec, exp.Star, exp.Ordered, exp.Order, exp.Distinct,
    exp.Where, exp.IgnoreNulls, exp.RespectNulls, exp.Tuple, exp.Alias,
)  # fmt: skip
TYPE = "duckdb_type"
SCALARS = {
    "BOOLEAN": "BOOLEAN", "TINYINT": "TINYINT", "SMALLINT": "SMALLINT", "INTEGER": "INT", "BIGINT": "BIGINT",
    "HUGEINT": "DECIMAL(38,0)", "FLOAT": "FLOAT", "DOUBLE": "DOUBLE", "VARCHAR": "STRING", "DATE": "DATE",
    "TIMESTAMP": "TIMESTAMP_NTZ", '"NULL"': "VOID",
}  # fmt: skip
"""DuckDB's types that mean the same on Spark; HUGEINT holds at most 38 digits there."""
INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
FLOATS = ("FLOAT", "DOUBLE")


def refuse(node: exp.Expr, why: str) -> NoReturn:
    """Say which construct has no equal on Spark, and what to write instead."""
    text = " ".join(node.sql("duckdb").split())
    raise EvergreenError(f"the SQL cannot run on Spark: {text[:120]}: {why}")


def type_of(node: exp.Expr) -> str:
    """DuckDB's name of an expression's type."""
    found = node.meta.get(TYPE)
    if found is None:
        refuse(node, "its type is not known; give each subquery its own columns")
    return str(found)


def spark_type(kind: str, node: exp.Expr) -> str:
    """The same type on Spark."""
    if kind.startswith("DECIMAL("):
        return kind
    if kind not in SCALARS:
        refuse(node, f"type {kind} has no equal on Spark; cast to BIGINT, DOUBLE, VARCHAR, DATE or TIMESTAMP")
    return SCALARS[kind]


def nested(node: exp.Expr) -> bool:
    return isinstance(node, ALL_ROWS)


def within(node: exp.Expr) -> Iterator[exp.Expr]:
    """An expression and its parts, not those of queries inside it."""
    yield node
    for part in node.iter_expressions():
        if not nested(part):
            yield from within(part)


def aggregates(node: exp.Expr) -> bool:
    """Whether an expression takes many rows together, other than in a window."""
    return any(isinstance(part, exp.AggFunc) and not in_window(part) for part in within(node))


def in_window(node: exp.Expr) -> bool:
    """Whether a function is the one that a window computes."""
    call = _call(node)
    return isinstance(call.parent, exp.Window) and call.arg_key == "this"


def _call(node: exp.Expr) -> exp.Expr:
    """An aggregate with the FILTER and IGNORE NULLS around it."""
    while isinstance(node.parent, exp.Filter | exp.IgnoreNulls | exp.RespectNulls) and node.arg_key == "this":
        node = node.parent
    return node


def grouped(select: exp.Select) -> bool:
    """Whether a SELECT gives a row per group."""
    parts = [*select.expressions, *(select.args.get(key) for key in ("having", "qualify", "order"))]
    return bool(select.args.get("group")) or any(part is not None and aggregates(part) for part in parts)


class Types:
    """A DuckDB without rows that knows the relations' columns.

    Asking DuckDB itself leaves no second opinion on its rules of typing.
    """

    def __init__(self, relations: Mapping[str, pa.Schema]) -> None:
        self.connection = duckdb.connect(config={"threads": 1})
        self.connection.execute("set TimeZone = 'UTC'")
        for name, schema in relations.items():
            self.connection.register("__columns", schema.empty_table())
            self.connection.execute(f'create table "{name}" as from __columns')
            self.connection.unregister("__columns")

    def answer(self, sql: str, parameters: Mapping[str, datetime] | None = None) -> pa.Schema:
        """The columns of a query's answer, as DuckDB gives them to Arrow."""
        try:
            return self.connection.execute(sql, dict(parameters or {})).to_arrow_table().schema
        except duckdb.Error as error:
            raise EvergreenError(f"DuckDB refuses the SQL: {str(error).splitlines()[0]}; mend it") from error

    def described(self, query: exp.Expr) -> list[tuple[str, str]]:
        """Name and type of each column of a query, which may stand inside another."""
        shown = query.copy()
        shown.set("with_", None)
        ctes = visible(query)
        if ctes:
            shown.set("with_", exp.With(expressions=[cte.copy() for cte in ctes]))
        rows = self.connection.execute(f"describe {shown.sql('duckdb')}").fetchall()
        return [(str(row[0]), str(row[1])) for row in rows]

    def constant(self, node: exp.Expr) -> Any:
        """The value of an expression without columns."""
        try:
            row = self.connection.execute(f"select {node.sql('duckdb')}").fetchone()
        except duckdb.Error as error:
            refuse(node, str(error).splitlines()[0])
        return row[0] if row else None

    def interval(self, node: exp.Expr) -> tuple[int, int]:
        """A constant interval as months and microseconds; a day has 24 hours where no clock is changed."""
        parts = [
            f"date_part('{part}', i)" for part in ("year", "month", "day", "hour", "minute", "microsecond")
        ]
        query = f"select {', '.join(parts)} from (select {node.sql('duckdb')} as i)"
        try:
            row = self.connection.execute(query).fetchone() or (0,) * 6
        except duckdb.Error as error:
            refuse(node, str(error).splitlines()[0])
        year, month, day, hour, minute, micros = (int(part) for part in row)
        return year * 12 + month, (day * 1440 + hour * 60 + minute) * 60_000_000 + micros

    def common(self, *kinds: str) -> str:
        """The type in which DuckDB compares values of these types."""
        casts = ", ".join(f"cast(null as {kind})" for kind in kinds if kind != '"NULL"')
        rows = self.connection.execute(f"describe select coalesce({casts})").fetchall()
        return str(rows[0][1])

    def annotate(self, tree: exp.Expr) -> None:
        """Write each expression's type into its `meta`."""
        for select in list(tree.find_all(exp.Select)):
            probes = list(_values(select))
            kinds = self._probed(select, [probe for _, probe in probes])
            for (node, _), kind in zip(probes, kinds, strict=True):
                node.meta[TYPE] = '"NULL"' if isinstance(node, exp.Null) else kind

    def _probed(self, select: exp.Select, probes: list[exp.Expr]) -> list[str]:
        if not probes:
            return []
        why = ""
        for outer in (None, *_around(select)):
            asked = _asking(select, probes, outer)
            ctes = visible(select)
            if ctes:
                asked.set("with_", exp.With(expressions=[cte.copy() for cte in ctes]))
            try:
                rows = self.connection.execute(f"describe {asked.sql('duckdb')}").fetchall()
            except duckdb.Error as error:
                why = why or str(error).splitlines()[0]
            else:
                return [str(row[1]) for row in rows]
        refuse(select, f"the types in it are not known ({why}); give its expressions names in a CTE")


def literal(value: Any, kind: str) -> str:
    """A constant as Spark reads it."""
    if value is None:
        return f"CAST(NULL AS {SCALARS.get(kind, kind)})" if kind != '"NULL"' else "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, datetime):
        return f"TIMESTAMP_NTZ '{value:%Y-%m-%d %H:%M:%S.%f}'"
    if isinstance(value, date):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, float):
        return f"CAST('{value!r}' AS {kind})"
    if isinstance(value, int | Decimal):
        return f"CAST('{value}' AS {SCALARS.get(kind, kind)})"
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def visible(node: exp.Expr) -> list[exp.Expr]:
    """The CTEs that a query may read, of its own and of those around it; an inner name hides an outer one."""
    found: dict[str, exp.Expr] = {}
    for around in reversed(list(_path(node))):
        clause = around.args.get("with_")
        for cte in clause.expressions if clause is not None else ():
            if any(cte is step for step in _path(node)):
                break
            found[cte.alias] = cte
    return list(found.values())


def _path(node: exp.Expr) -> Iterator[exp.Expr]:
    here: exp.Expr | None = node
    while here is not None:
        yield here
        here = here.parent


def _around(select: exp.Select) -> list[exp.Select]:
    """The SELECTs that an inner one may take columns from, the nearest first."""
    return [step for step in _path(select) if isinstance(step, exp.Select) and step is not select]


def _asking(select: exp.Select, probes: list[exp.Expr], outer: exp.Select | None) -> exp.Select:
    """A SELECT of the probes over the same rows; with `outer`, over its rows as well."""
    asked = exp.Select(expressions=[exp.alias_(probe.copy(), f"__{i}") for i, probe in enumerate(probes)])
    for key in ("from_", "windows", "group"):
        part = select.args.get(key)
        if part:
            asked.set(key, [one.copy() for one in part] if isinstance(part, list) else part.copy())
    joins = [join.copy() for join in select.args.get("joins") or []]
    if outer is not None and outer.args.get("from_"):
        joins.append(exp.Join(this=outer.args["from_"].this.copy(), kind="CROSS"))
        joins += [join.copy() for join in outer.args.get("joins") or []]
    asked.set("joins", joins)
    return asked


def _values(select: exp.Select) -> Iterator[tuple[exp.Expr, exp.Expr]]:
    """Each expression of a SELECT, and what to ask of DuckDB to learn its type."""
    many = grouped(select)
    for key in (
        "expressions",
        "where",
        "group",
        "having",
        "qualify",
        "windows",
        "order",
        "joins",
        "from_",
        "distinct",
    ):
        part = select.args.get(key)
        for root in part if isinstance(part, list) else [part]:
            if root is not None:
                yield from _parts(root, many)


def _parts(node: exp.Expr, many: bool) -> Iterator[tuple[exp.Expr, exp.Expr]]:
    if nested(node):
        return
    if _is_value(node) and not in_window(node):
        # Beside GROUP BY, a part that is neither a key nor an aggregate can only be asked about inside one.
        over_groups = aggregates(node) or any(isinstance(part, exp.Window) for part in within(node))
        yield node, exp.AnyValue(this=node.copy()) if many and not over_groups else node
    if isinstance(node, exp.Interval) and not node.find(exp.Column):
        return
    for part in node.iter_expressions():
        yield from _parts(part, many)


def _is_value(node: exp.Expr) -> bool:
    if isinstance(node, NO_VALUE) or isinstance(node.parent, exp.TableAlias | exp.Table):
        return False
    kinds = (
        exp.Condition, exp.Func, exp.Filter, exp.Interval, exp.Paren, exp.Subquery, exp.Null, exp.Boolean,
        exp.Literal,
    )  # fmt: skip
    if isinstance(node, exp.Subquery | exp.Unnest) and isinstance(node.parent, exp.From | exp.Join):
        return False
    if isinstance(node, exp.Window) and node.arg_key == "windows":
        return False
    return isinstance(node, kinds) and not isinstance(node.parent, exp.Interval | exp.DataTypeParam)
