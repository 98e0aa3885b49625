"""The SQL of features, written for DuckDB, as Spark SQL that gives the same values.

DuckDB itself says what type each expression has; each construct has a rule, tested value by value, or is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import sqlglot
from sqlglot import exp

from pipelines.catalog import datasets
from pipelines.contracts import EvergreenError
from pipelines.features.dialects.names import bind, plain
from pipelines.features.dialects.types import Types, grouped, refuse, type_of
from pipelines.features.dialects.values import HANDLERS, Values
from pipelines.features.dialects.windows import OFFSETS, PLACES, RANKS, ordering

SETS = {exp.Union: "UNION", exp.Except: "EXCEPT", exp.Intersect: "INTERSECT"}
SELECT_PARTS = {"with_", "expressions", "distinct", "from_", "joins", "where", "group", "having", "qualify"}
SELECT_PARTS |= {"windows", "order", "limit", "offset", "operation_modifiers"}
JOINS = {
    "": "JOIN",
    "INNER": "JOIN",
    "CROSS": "CROSS JOIN",
    "SEMI": "LEFT SEMI JOIN",
    "ANTI": "LEFT ANTI JOIN",
}
SIDES = {"LEFT": "LEFT JOIN", "RIGHT": "RIGHT JOIN", "FULL": "FULL JOIN"}
NAMED = (
    exp.Explode,
    exp.GenerateSeries,
    exp.Unnest,
    exp.Array,
    exp.Interval,
    exp.IgnoreNulls,
    exp.RespectNulls,
)
NAMED += (exp.ToDays, exp.Ntile, *OFFSETS, *PLACES, *RANKS)
COUNTED = (
    "to_weeks",
    "to_days",
    "to_hours",
    "to_minutes",
    "to_seconds",
    "to_milliseconds",
    "to_microseconds",
)
ARROW = {"string": pa.string(), "integer": pa.int64(), "float": pa.float64(), "timestamp": pa.timestamp("us")}


@dataclass(frozen=True)
class Translation:
    """A query for Spark, and the columns and types of DuckDB's answer."""

    sql: str
    answer: pa.Schema


def spark_sql(sql: str, parameters: Mapping[str, datetime]) -> str:
    """The Spark SQL of a query over the catalog's datasets, with the parameters' values in it.

    Raises EvergreenError, naming the construct, for what would not give DuckDB's values.
    """
    return translate(sql, parameters, silver_schemas()).sql


def datasets_in(sql: str) -> list[str]:
    """The catalog's datasets that a query reads, by name."""
    return sorted({table.name for table in _parsed(sql).find_all(exp.Table)} & set(datasets()))


def silver_schemas() -> dict[str, pa.Schema]:
    """The columns of each dataset as feature SQL sees them: times are naive UTC."""
    return {
        name: pa.schema([(column, ARROW[kind.type]) for column, kind in spec.columns.items()])
        for name, spec in datasets().items()
    }


def translate(
    sql: str, parameters: Mapping[str, datetime], relations: Mapping[str, pa.Schema]
) -> Translation:
    """A query over relations of these columns (naive times) for Spark."""
    tree, types = _parsed(sql), Types(relations)
    given = {name: _naive(moment) for name, moment in parameters.items()}
    used = bind(tree, given)
    answer = types.answer(sql, {name: given[name] for name in used})
    _known(tree)
    plain(tree, types)
    if types.answer(tree.sql("duckdb")).types != answer.types:
        raise EvergreenError(
            "the SQL cannot run on Spark: it is read in two ways; cast its columns, name each"
        )
    types.annotate(tree)
    return Translation(_Queries(types).write(tree), answer)


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _parsed(sql: str) -> exp.Expr:
    try:
        trees = sqlglot.parse(sql, read="duckdb")
    except sqlglot.errors.SqlglotError as error:
        raise EvergreenError(f"the SQL cannot be read: {str(error).splitlines()[0]}; mend it") from error
    if len(trees) != 1 or not isinstance(trees[0], exp.Select | exp.SetOperation):
        raise EvergreenError("the SQL must be one SELECT; a CTE may stand before it")
    return trees[0]


def _known(tree: exp.Expr) -> None:
    """Refuses a function without a rule before anything is asked about it."""
    for node in tree.find_all(exp.Func):
        counted = isinstance(node, exp.Anonymous) and node.name.lower() in COUNTED
        if type(node) not in HANDLERS and not isinstance(node, NAMED) and not counted:
            name = node.name if isinstance(node, exp.Anonymous) else node.key
            refuse(node, f"{name}() is not among what gives the same values on Spark")
    for node in tree.find_all(exp.Select):
        other = {key for key, part in node.args.items() if part} - SELECT_PARTS
        if other:
            refuse(node, f"{min(other).rstrip('_')} has no equal on Spark")


class _Queries:
    """Writes SELECTs and what they read from."""

    def __init__(self, types: Types) -> None:
        self._types = types
        self._values = Values(types, self.write)

    def write(self, query: exp.Expr, wanted: list[str] | None = None) -> str:
        """A query; `wanted` are the types that its columns must have, DuckDB's names."""
        if isinstance(query, exp.Subquery):
            return self.write(query.this, wanted)
        if isinstance(query, exp.SetOperation):
            return self._ctes(query) + self._united(query, wanted) + self._tail(query)
        if not isinstance(query, exp.Select):
            refuse(query, "only SELECT can stand here")
        return self._ctes(query) + self._select(query, wanted)

    def _ctes(self, query: exp.Expr) -> str:
        clause = query.args.get("with_")
        if clause is None:
            return ""
        if clause.args.get("recursive"):
            refuse(query, "a recursive CTE has no equal on Spark")
        texts = []
        for cte in clause.expressions:
            columns = ", ".join(f"`{name}`" for name in cte.alias_column_names)
            texts.append(f"`{cte.alias}`{f' ({columns})' if columns else ''} AS ({self.write(cte.this)})")
        return f"WITH {', '.join(texts)} "

    def _united(self, query: exp.SetOperation, wanted: list[str] | None) -> str:
        if query.args.get("by_name"):
            refuse(query, "write the columns of both sides in one order")
        kinds = wanted or [kind for _, kind in self._types.described(query)]
        left, right = (self.write(side, kinds) for side in (query.left, query.right))
        distinct = "" if query.args.get("distinct") else " ALL"
        return f"({left}) {SETS[type(query)]}{distinct} ({right})"

    def _select(self, select: exp.Select, wanted: list[str] | None) -> str:
        projections = self._projections(select, wanted)
        distinct, qualify = select.args.get("distinct"), select.args.get("qualify")
        body = self._body(select)
        word = "SELECT DISTINCT" if distinct is not None else "SELECT"
        if distinct is not None and distinct.args.get("on"):
            return self._first_of_each(select, projections, body, distinct.args["on"])
        if qualify is None:
            columns = ", ".join(f"{text} AS `{name}`" for text, name in projections)
            return f"{word} {columns}{body}{self._tail(select)}"
        return self._kept(projections, body, self._values.condition(qualify.this), word, select)

    def _kept(
        self, projections: list[tuple[str, str]], body: str, keep: str, word: str, select: exp.Select
    ) -> str:
        """QUALIFY as a column of an inner SELECT."""
        inner = [f"{text} AS `__{n}`" for n, (text, _) in enumerate(projections)]
        outer = [f"`__{n}` AS `{name}`" for n, (_, name) in enumerate(projections)]
        order = select.args.get("order")
        if order is not None and not all(isinstance(key.this, exp.Literal) for key in order.expressions):
            refuse(order, "beside QUALIFY, order by columns of the SELECT")
        kept = f"SELECT {', '.join(inner)}, {keep} AS `__keep`{body}"
        return f"{word} {', '.join(outer)} FROM ({kept}) WHERE `__keep`{self._tail(select)}"

    def _first_of_each(
        self, select: exp.Select, projections: list[tuple[str, str]], body: str, on: exp.Expr
    ) -> str:
        """DISTINCT ON as the first row of a window."""
        order = select.args.get("order")
        if order is None or select.args.get("qualify") or grouped(select):
            refuse(select, "DISTINCT ON needs an ORDER BY, and neither groups nor QUALIFY beside it")
        emit = self._values.emit
        keys = [select.expressions[int(k.this.this) - 1].unalias() if isinstance(k.this, exp.Literal) else k.this
                for k in order.expressions]  # fmt: skip
        by = ", ".join(emit(key.unalias()) for key in on.expressions)
        sort = ", ".join(emit(k) + ordering(o) for k, o in zip(keys, order.expressions, strict=True))
        keep = f"row_number() OVER (PARTITION BY {by} ORDER BY {sort}) = 1"
        if not all(isinstance(key.this, exp.Literal) for key in order.expressions):
            refuse(order, "with DISTINCT ON, order by columns of the SELECT")
        return self._kept(projections, body, keep, "SELECT", select)

    def _projections(self, select: exp.Select, wanted: list[str] | None) -> list[tuple[str, str]]:
        found = []
        for n, projection in enumerate(select.expressions):
            node, name = projection.unalias(), projection.alias_or_name or f"_{n}"
            if isinstance(node, exp.Explode | exp.Unnest):
                text = f"explode({self._array(node, select)})"
            elif wanted is None:
                text = self._values.emit(node)
            else:
                text = self._values.to(node, wanted[n])
            found.append((text, name))
        return found

    def _array(self, node: exp.Expr, select: exp.Select) -> str:
        """What unnest takes apart."""
        if sum(1 for p in select.expressions if p.find(exp.Explode, exp.Unnest)) > 1 or grouped(select):
            refuse(node, "unnest one series in a SELECT of its own, then join or group")
        if any(p.find(exp.Window) for p in select.expressions) or select.args.get("qualify"):
            refuse(node, "unnest in a CTE, then compute windows")
        return self._series(node.this if isinstance(node, exp.Explode) else node.expressions[0])

    def _series(self, inner: exp.Expr) -> str:
        if isinstance(inner, exp.GenerateSeries):
            return self._values.times.series(inner)
        if isinstance(inner, exp.Array) and inner.expressions:
            kind = self._types.common(*(type_of(one) for one in inner.expressions))
            return f"array({', '.join(self._values.to(one, kind) for one in inner.expressions)})"
        return refuse(inner, "unnest takes generate_series, range or a list of values")

    def _body(self, select: exp.Select) -> str:
        text, values = "", self._values
        source = select.args.get("from_")
        if source is not None:
            joins = select.args.get("joins") or []
            text = f" FROM {self._source(source.this)}" + "".join(self._join(join) for join in joins)
        where, group, having = (select.args.get(key) for key in ("where", "group", "having"))
        if where is not None:
            text += f" WHERE {values.condition(where.this)}"
        if group is not None:
            text += f" GROUP BY {', '.join(values.emit(key) for key in group.expressions)}"
        return text + (f" HAVING {values.condition(having.this)}" if having is not None else "")

    def _source(self, node: exp.Expr) -> str:
        inner = node.this if isinstance(node, exp.Table) else node
        if isinstance(inner, exp.GenerateSeries | exp.Unnest):
            return self._made(node, inner)
        alias = node.args.get("alias")
        if isinstance(node, exp.Subquery):
            text = f"({self.write(node.this)})"
        elif isinstance(node, exp.Table) and isinstance(inner, exp.Identifier) and not node.args.get("db"):
            text = f"`{node.name}`"
        else:
            refuse(node, "read from a dataset, a CTE, a subquery, or a series")
        others = {key for key, part in node.args.items() if part} - {"this", "alias"}
        if others:
            refuse(node, f"{min(others)} has no equal on Spark")
        columns = ", ".join(f"`{name}`" for name in node.alias_column_names)
        return f"{text} AS `{alias.name}`{f' ({columns})' if columns else ''}" if alias is not None else text

    def _made(self, node: exp.Expr, inner: exp.Expr) -> str:
        """A series in FROM."""
        if inner.find(exp.Column):
            refuse(node, "a series in FROM takes constants; unnest it in SELECT")
        series = inner if isinstance(inner, exp.GenerateSeries) else inner.expressions[0]
        default = "unnest" if isinstance(inner, exp.Unnest) else "generate_series"
        default = "range" if inner.args.get("is_end_exclusive") else default
        name = (node.alias_column_names or [default])[0]
        return f"(SELECT explode({self._series(series)}) AS `{name}`) AS `{node.alias or default}`"

    def _join(self, join: exp.Join) -> str:
        kind, side = join.args.get("kind") or "", join.args.get("side") or ""
        if join.args.get("method") or (side and side not in SIDES) or kind not in (*JOINS, "OUTER"):
            refuse(join, "join with JOIN, LEFT, RIGHT, FULL, CROSS, SEMI or ANTI")
        on, using = join.args.get("on"), join.args.get("using")
        bare = not on and not using and not side and kind in ("", "CROSS")
        word = "CROSS JOIN" if bare else SIDES.get(side) or JOINS[kind]
        text = f" {word} {self._source(join.this)}"
        if on is not None:
            return f"{text} ON {self._values.condition(on)}"
        return text + (f" USING ({', '.join(f'`{name.name}`' for name in using)})" if using else "")

    def _tail(self, query: exp.Expr) -> str:
        order, limit, offset = (query.args.get(key) for key in ("order", "limit", "offset"))
        text = ""
        if order is not None:
            keys = [f"{self._key(key.this)}{ordering(key)}" for key in order.expressions]
            text = f" ORDER BY {', '.join(keys)}"
        for word, part in (("LIMIT", limit), ("OFFSET", offset)):
            if part is not None:
                if order is None or not isinstance(part, exp.Limit | exp.Offset):
                    refuse(part, "without ORDER BY it depends on the order of rows")
                text += f" {word} {int(self._types.constant(part.expression))}"
        return text

    def _key(self, node: exp.Expr) -> str:
        if isinstance(node, exp.Literal):
            return str(int(node.this))
        if isinstance(node.find_ancestor(exp.Select, exp.SetOperation), exp.SetOperation):
            return f"`{node.name}`"
        return self._values.emit(node)
