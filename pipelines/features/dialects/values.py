"""DuckDB's expressions as Spark SQL, value by value the same; what is not listed here is refused."""

from collections.abc import Callable
from typing import Any

from sqlglot import exp

from pipelines.features.dialects.casts import cast
from pipelines.features.dialects.numbers import NUMBERS, guarded
from pipelines.features.dialects.times import TIMES, Times, unit_of
from pipelines.features.dialects.types import INTEGERS, Types, literal, refuse, spark_type, type_of
from pipelines.features.dialects.windows import Windows

COMPARISONS = {exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
               exp.NullSafeEQ: "<=>"}  # fmt: skip
ARITHMETIC = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*"}
PART_OF = {
    exp.Year: "year", exp.Quarter: "quarter", exp.Month: "month", exp.Day: "day", exp.DayOfMonth: "day",
    exp.Hour: "hour", exp.Minute: "minute", exp.Second: "second", exp.DayOfWeek: "dow",
    exp.DayOfWeekIso: "isodow", exp.DayOfYear: "doy", exp.Week: "week", exp.WeekOfYear: "week",
    exp.TimeToUnix: "epoch",
}  # fmt: skip
Handler = Callable[[Any, Any], str]


class Values:
    """Writes expressions; `query` writes the queries inside them."""

    def __init__(self, types: Types, query: Callable[[exp.Expr], str]) -> None:
        self.types = types
        self.query = query
        self.times = Times(types, self.emit)
        self.windows = Windows(types, self.emit)

    def emit(self, node: exp.Expr) -> str:
        """The expression on Spark, of the same type."""
        handler = HANDLERS.get(type(node))
        if handler is None:
            refuse(node, f"{node.key} is not among what gives the same values on Spark")
        return handler(self, node)

    def to(self, node: exp.Expr, kind: str) -> str:
        """The expression cast to one of DuckDB's types as DuckDB would."""
        if isinstance(node, exp.Literal) and node.is_string and kind != "VARCHAR":
            return literal(self.types.constant(exp.cast(node.copy(), kind, dialect="duckdb")), kind)
        return cast(self.emit(node), type_of(node), kind, node)

    def pair(self, left: exp.Expr, right: exp.Expr) -> tuple[str, str]:
        """Two expressions as DuckDB compares them."""
        kinds = type_of(left), type_of(right)
        if "INTERVAL" in kinds:
            return self.times.span(left), self.times.span(right)
        texts = [node for node in (left, right) if isinstance(node, exp.Literal) and node.is_string]
        if len(texts) == 1:
            kind = kinds[1] if texts[0] is left else kinds[0]
        elif kinds[0] == kinds[1] or '"NULL"' in kinds or all(k in INTEGERS or "DECIMAL" in k for k in kinds):
            return self.emit(left), self.emit(right)
        else:
            kind = self.types.common(*kinds)
        return self.to(left, kind), self.to(right, kind)

    def condition(self, node: exp.Expr) -> str:
        """The expression as a condition."""
        return self.to(node, "BOOLEAN")


def _comparison(v: Values, node: exp.Binary) -> str:
    if isinstance(node.right, exp.Any | exp.All | exp.Tuple):
        refuse(node, "use IN, or EXISTS")
    left, right = v.pair(node.left, node.right)
    return f"({left} {COMPARISONS[type(node)]} {right})"


def _distinct_from(v: Values, node: exp.NullSafeNEQ) -> str:
    left, right = v.pair(node.left, node.right)
    return f"(NOT ({left} <=> {right}))"


def _between(v: Values, node: exp.Between) -> str:
    if node.args.get("symmetric"):
        refuse(node, "write both bounds in order")
    bounds = [v.pair(node.this, node.args[side]) for side in ("low", "high")]
    return f"({bounds[0][0]} >= {bounds[0][1]} AND {bounds[1][0]} <= {bounds[1][1]})"


def _in(v: Values, node: exp.In) -> str:
    inner = node.args.get("query")
    if inner is not None:
        select = inner.unnest()
        kinds = [kind for _, kind in v.types.described(select)]
        if kinds != [type_of(node.this)]:
            refuse(node, "cast both sides to one type")
        return f"({v.emit(node.this)} IN ({v.query(select)}))"
    if node.args.get("unnest") or node.args.get("field"):
        refuse(node, "write the values out")
    pairs = [v.pair(node.this, other) for other in node.expressions]
    return f"({' OR '.join(f'{left} = {right}' for left, right in pairs)})"


def _is(v: Values, node: exp.Is) -> str:
    if not isinstance(node.expression, exp.Null | exp.Boolean):
        refuse(node, "compare with IS NOT DISTINCT FROM")
    if isinstance(node.expression, exp.Null):
        return f"({v.emit(node.this)} IS NULL)"
    return f"({v.condition(node.this)} IS {str(node.expression.this).upper()})"


def _arithmetic(v: Values, node: exp.Binary) -> str:
    kind = type_of(node)
    if kind in TIMES:
        return v.times.shifted(node)
    if "INTERVAL" in (kind, type_of(node.left), type_of(node.right)):
        refuse(node, "an interval can be added to a time, compared, or made seconds by epoch()")
    if type_of(node.left) == "DATE":
        return f"CAST(datediff({v.emit(node.left)}, {v.emit(node.right)}) AS BIGINT)"
    sign = ARITHMETIC[type(node)]
    if not kind.startswith("DECIMAL"):
        text = f"({v.to(node.left, kind)} {sign} {v.to(node.right, kind)})"
        return f"CAST({text} AS DECIMAL(38,0))" if kind == "HUGEINT" else text
    return f"CAST({v.emit(node.left)} {sign} {v.emit(node.right)} AS {kind})"


def _neg(v: Values, node: exp.Neg) -> str:
    if type_of(node) == "INTERVAL":
        refuse(node, "subtract the interval instead")
    return f"(- {v.to(node.this, type_of(node))})"


def _literal(v: Values, node: exp.Literal) -> str:
    if node.is_string:
        return literal(node.this, "VARCHAR")
    kind = type_of(node)
    return str(node.this) if kind == "INTEGER" else literal(v.types.constant(node), kind)


def _column(v: Values, node: exp.Column) -> str:
    if node.args.get("db") or not isinstance(node.this, exp.Identifier):
        refuse(node, "name a column, or table.column")
    spark_type(type_of(node), node)
    return ".".join(f"`{part.name}`" for part in node.parts)


def _case(v: Values, node: exp.Case) -> str:
    kind, subject = type_of(node), node.this
    whens = []
    for one in node.args["ifs"]:
        test = v.condition(one.this) if subject is None else " = ".join(v.pair(subject, one.this))
        whens.append(f"WHEN {test} THEN {v.to(one.args['true'], kind)}")
    default = node.args.get("default")
    return f"CASE {' '.join(whens)} ELSE {v.to(default, kind) if default is not None else 'NULL'} END"


def _if(v: Values, node: exp.If) -> str:
    kind, other = type_of(node), node.args.get("false")
    no = v.to(other, kind) if other is not None else "NULL"
    return f"CASE WHEN {v.condition(node.this)} THEN {v.to(node.args['true'], kind)} ELSE {no} END"


def _nullif(v: Values, node: exp.Nullif) -> str:
    left, right = v.pair(node.this, node.expression)
    return f"CASE WHEN {left} = {right} THEN NULL ELSE {v.to(node.this, type_of(node))} END"


def _of_all(name: str) -> Handler:
    """coalesce, least and greatest, whose values have one type."""

    def emit(v: Values, node: exp.Func) -> str:
        values = [v.to(one, type_of(node)) for one in (node.this, *node.expressions)]
        return f"{name}({', '.join(values)})" if len(values) > 1 else values[0]

    return emit


def _cast(v: Values, node: exp.Cast) -> str:
    if type_of(node) == "INTERVAL":
        refuse(node, "write INTERVAL 'n' HOUR or the like")
    return v.to(node.this, type_of(node))


def _abs(v: Values, node: exp.Abs) -> str:
    return f"abs({v.to(node.this, type_of(node))})"


def _ascii(name: str) -> Handler:
    """lower and upper: the engines disagree beyond ASCII, so other letters end the query."""

    def emit(v: Values, node: exp.Func) -> str:
        x = v.to(node.this, "VARCHAR")
        return guarded(x, r"RLIKE '[^\\x00-\\x7F]'", f"{name} of letters beyond ASCII", f"{name}({x})")

    return emit


def _concat(v: Values, node: exp.Concat) -> str:
    parts = [f"coalesce({v.to(one, 'VARCHAR')}, '')" for one in node.expressions]
    return f"concat({', '.join(parts)})"


def _pipe(v: Values, node: exp.DPipe) -> str:
    return f"concat({v.to(node.left, 'VARCHAR')}, {v.to(node.right, 'VARCHAR')})"


def _substring(v: Values, node: exp.Expr) -> str:
    if isinstance(node, exp.Left):
        start, size = 1, node.expression
    else:
        start, size = v.types.constant(node.args["start"]), node.args.get("length")
    count = 2**31 - 1 if size is None else v.types.constant(size)
    if start < 1 or count < 0:
        refuse(node, "begin at 1 or later, with a length of 0 or more")
    return f"substring({v.to(node.this, 'VARCHAR')}, {start}, {count})"


def _like(v: Values, node: exp.Like) -> str:
    pattern = node.expression
    if not isinstance(pattern, exp.Literal) or "\\" in pattern.this:
        refuse(node, "give LIKE a constant pattern without a backslash")
    return f"({v.to(node.this, 'VARCHAR')} LIKE {literal(pattern.this, 'VARCHAR')})"


def _extract(v: Values, node: exp.Extract) -> str:
    return v.times.part(node.this.name, node.expression, node)


def _part(unit: str) -> Handler:
    return lambda v, node: v.times.part(unit, node.this, node)


def _anonymous(v: Values, node: exp.Anonymous) -> str:
    name, given = node.name.lower(), node.expressions
    if name in ("date_part", "datepart") and len(given) == 2:
        return v.times.part(given[0].name, given[1], node)
    if name == "epoch_us" and len(given) == 1:
        return v.times.epoch(given[0])
    return refuse(node, f"{name}() is not among what gives the same values on Spark")


def _date_diff(v: Values, node: exp.DateDiff) -> str:
    return v.times.crossed(node, unit_of(node.args["unit"].name), node.expression, node.this)


def _boolean(word: str) -> Handler:
    def emit(v: Values, node: exp.Binary) -> str:
        return f"({v.condition(node.left)} {word} {v.condition(node.right)})"

    return emit


def _subquery(v: Values, node: exp.Subquery) -> str:
    return f"({v.query(node.this)})"


HANDLERS: dict[type, Handler] = {
    **dict.fromkeys(COMPARISONS, _comparison),
    **dict.fromkeys(ARITHMETIC, _arithmetic),
    **NUMBERS,
    **{kind: _part(part) for kind, part in PART_OF.items()},
    **dict.fromkeys(Windows.AGGREGATES, lambda v, node: v.windows.aggregate(node, None, "")),
    exp.Window: lambda v, node: v.windows.over(node),
    exp.Filter: lambda v, node: v.windows.filtered(node, ""),
    exp.NullSafeNEQ: _distinct_from, exp.Between: _between, exp.In: _in, exp.Is: _is,
    exp.Neg: _neg, exp.Literal: _literal, exp.Column: _column,
    exp.Case: _case, exp.If: _if, exp.Nullif: _nullif, exp.Cast: _cast, exp.Abs: _abs,
    exp.Coalesce: _of_all("coalesce"), exp.Least: _of_all("least"), exp.Greatest: _of_all("greatest"),

    exp.Lower: _ascii("lower"),
    exp.Upper: _ascii("upper"), exp.Concat: _concat, exp.DPipe: _pipe, exp.Substring: _substring,
    exp.Left: _substring, exp.Like: _like, exp.Extract: _extract, exp.Anonymous: _anonymous,
    exp.DateDiff: _date_diff, exp.And: _boolean("AND"), exp.Or: _boolean("OR"), exp.Subquery: _subquery,
    exp.Not: lambda v, node: f"(NOT {v.condition(node.this)})",
    exp.Paren: lambda v, node: f"({v.emit(node.this)})",
    exp.Boolean: lambda v, node: str(node.this).upper(),
    exp.Null: lambda v, node: "NULL",
    exp.Exists: lambda v, node: f"EXISTS ({v.query(node.this)})",
    exp.IsNan: lambda v, node: f"({v.to(node.this, 'DOUBLE')} = CAST('NaN' AS DOUBLE))",
    exp.Pi: lambda v, node: "pi()",
    exp.Length: lambda v, node: f"CAST(char_length({v.to(node.this, 'VARCHAR')}) AS BIGINT)",
    exp.StartsWith: lambda v, n: f"startswith({v.to(n.this, 'VARCHAR')}, {v.to(n.expression, 'VARCHAR')})",
    exp.Contains: lambda v, n: f"contains({v.to(n.this, 'VARCHAR')}, {v.to(n.expression, 'VARCHAR')})",
    exp.TimestampTrunc: lambda v, node: v.times.truncated(node, node.args["unit"].name),
    exp.DateTrunc: lambda v, node: v.times.truncated(node, node.args["unit"].name),
    exp.DateBin: lambda v, node: v.times.bucket(node),
}  # fmt: skip
"""How each construct is written; the list is what is known to give equal values."""
