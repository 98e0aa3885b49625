"""DuckDB's aggregates and windows as Spark SQL, with the frame, order and nulls of each spelled out."""

from collections.abc import Callable
from typing import Any, ClassVar

from sqlglot import exp

from pipelines.features.dialects.numbers import once
from pipelines.features.dialects.times import TIMES, day_time
from pipelines.features.dialects.types import FLOATS, INTEGERS, Types, in_window, refuse, spark_type, type_of

Emit = Callable[[exp.Expr], str]
Guard = Callable[[str], str]
RANKS = {
    exp.RowNumber: "row_number()", exp.Rank: "rank()", exp.DenseRank: "dense_rank()",
    exp.PercentRank: "percent_rank()", exp.CumeDist: "cume_dist()",
}  # fmt: skip
OFFSETS = {exp.Lag: "lag", exp.Lead: "lead"}
PLACES = {exp.FirstValue: "first_value", exp.LastValue: "last_value", exp.NthValue: "nth_value"}
SPREADS = {
    exp.Stddev: "stddev_samp", exp.StddevSamp: "stddev_samp", exp.StddevPop: "stddev_pop",
    exp.Variance: "var_samp", exp.VariancePop: "var_pop",
}  # fmt: skip
WHOLE = (*INTEGERS, "BOOLEAN")


class Windows:
    """Writes aggregates, in groups and in windows."""

    AGGREGATES: ClassVar[tuple[Any, ...]] = (
        exp.Sum, exp.Avg, exp.Count, exp.Min, exp.Max, exp.CountIf, exp.LogicalAnd, exp.LogicalOr, exp.Median,
        exp.PercentileCont, *SPREADS,
    )  # fmt: skip

    def __init__(self, types: Types, emit: Emit) -> None:
        self._types = types
        self._emit = emit

    def over(self, node: exp.Window) -> str:
        """A function in a window."""
        if node.args.get("first") is not None:
            refuse(node, "KEEP is not known")
        inner, over = node.this, self._over(node)
        if isinstance(inner, exp.Filter):
            return self.filtered(inner, over)
        if isinstance(inner, self.AGGREGATES):
            return self.aggregate(inner, None, over)
        return self._ranked(inner, node, over)

    def filtered(self, node: exp.Filter, over: str) -> str:
        """An aggregate of the rows for which a condition holds."""
        return self.aggregate(node.this, self._emit(node.expression.this), over)

    def aggregate(self, node: exp.Expr, condition: str | None, over: str) -> str:
        """An aggregate, `over` a window if that is not empty."""
        if not isinstance(node, self.AGGREGATES):
            refuse(node, "its value depends on the order of rows, or it has no equal on Spark")

        def guard(text: str) -> str:
            return text if condition is None else f"CASE WHEN {condition} THEN {text} END"

        if isinstance(node, exp.Count):
            return self._count(node, guard, over)
        if isinstance(node.this, exp.Distinct):
            return self._of_distinct(node, guard, over)
        if isinstance(node, exp.Sum):
            return self._sum(node.this, guard, over)
        if isinstance(node, exp.Avg):
            return self._avg(node.this, guard, over)
        return self._other(node, guard, over)

    def _count(self, node: exp.Count, guard: Guard, over: str) -> str:
        of = node.this
        if isinstance(of, exp.Distinct):
            return self._of_distinct(node, guard, over)
        if node.expressions:
            refuse(node, "count one column at a time")
        text = "1" if of is None or isinstance(of, exp.Star) else self._emit(of)
        return f"count({guard(text)}){over}"

    def _of_distinct(self, node: exp.Expr, guard: Guard, over: str) -> str:
        """A window takes no DISTINCT on Spark, but it can collect a set."""
        if len(node.this.expressions) != 1:
            refuse(node, "take one column at a time")
        text = guard(self._emit(node.this.expressions[0]))
        if isinstance(node, exp.Count):
            return f"CAST(size(collect_set({text}){over}) AS BIGINT)" if over else f"count(DISTINCT {text})"
        if isinstance(node, exp.Min | exp.Max):
            return f"{node.key}({text}){over}"
        return refuse(node, "take the aggregate of SELECT DISTINCT in a CTE")

    def _sum(self, of: exp.Expr, guard: Guard, over: str) -> str:
        """Integers add up to 38 digits, as DuckDB's HUGEINT does."""
        return f"sum({guard(self._wide(of))}){over}"

    def _wide(self, of: exp.Expr) -> str:
        kind, text = type_of(of), self._emit(of)
        if kind in WHOLE:
            text = f"CAST({text} AS INT)" if kind == "BOOLEAN" else text
            return f"CAST({text} AS DECIMAL(38,0))"
        if kind.startswith("DECIMAL"):
            return f"CAST({text} AS DECIMAL(38,{_scale(kind)}))"
        if kind not in FLOATS:
            refuse(of, f"a sum or mean of {kind} has no equal on Spark")
        return f"CAST({text} AS DOUBLE)"

    def _avg(self, of: exp.Expr, guard: Guard, over: str) -> str:
        """Of exact numbers: the exact sum, divided once."""
        kind, wide = type_of(of), guard(self._wide(of))
        if kind in FLOATS:
            return f"avg({wide}){over}"
        scale = _scale(kind) if kind.startswith("DECIMAL") else 0
        total = f"sum({wide}){over}"
        if scale:
            total = f"CAST({total} * CAST('{10**scale}' AS DECIMAL(38,0)) AS DECIMAL(38,0))"
        return f"(CAST({total} AS DOUBLE) / (nullif(count({wide}){over}, 0) * {10**scale}D))"

    def _other(self, node: exp.Expr, guard: Guard, over: str) -> str:
        of = node.this
        text, kind = guard(self._emit(of)), type_of(of)
        if isinstance(node, exp.Min | exp.Max):
            if node.expressions:
                refuse(node, "take one value")
            return f"{node.key}({text}){over}"
        if isinstance(node, exp.CountIf):
            found = guard(f"CAST(CAST({self._emit(of)} AS INT) AS DECIMAL(38,0))")
            return f"sum({found}){over}"
        if isinstance(node, exp.LogicalAnd | exp.LogicalOr):
            return f"{'bool_and' if isinstance(node, exp.LogicalAnd) else 'bool_or'}({text}){over}"
        if kind not in (*INTEGERS, "DOUBLE"):
            refuse(node, "cast its argument to DOUBLE")
        number = guard(f"CAST({self._emit(of)} AS DOUBLE)")
        if type(node) in SPREADS:
            found = f"{SPREADS[type(node)]}({number}){over}"
            return once(node.parent if over else node, lambda x: _finite(x, node.key), found)
        share = 0.5 if isinstance(node, exp.Median) else self._types.constant(node.expression)
        if _type_outside(node) != "DOUBLE" or isinstance(share, list):
            refuse(node, "take one share at a time, of DOUBLE")
        return f"percentile({number}, {float(share)}D){over}"

    def _ranked(self, inner: exp.Expr, node: exp.Window, over: str) -> str:
        """Functions of a row's place. Without an order, that place is anyone's guess."""
        if "ORDER BY" not in over:
            refuse(node, "without ORDER BY its value depends on the order of rows")
        function, nulls = inner, ""
        if isinstance(inner, exp.IgnoreNulls | exp.RespectNulls):
            function, nulls = inner.this, " IGNORE NULLS" if isinstance(inner, exp.IgnoreNulls) else ""
        if type(function) in PLACES:
            return self._placed(function, nulls, over)
        over = self._over(node, framed=False)
        if type(function) in RANKS:
            text = f"{RANKS[type(function)]}{over}"
            return text if type_of(node) == "DOUBLE" else f"CAST({text} AS BIGINT)"
        if isinstance(function, exp.Ntile):
            return f"CAST(ntile({self._whole(function.this)}){over} AS BIGINT)"
        if type(function) in OFFSETS:
            return self._offset(function, type_of(node), nulls, over)
        return refuse(node, "this window function has no equal on Spark")

    def _placed(self, node: exp.Expr, nulls: str, over: str) -> str:
        offset = node.args.get("offset")
        more = f", {self._whole(offset)}" if offset is not None else ""
        return f"{PLACES[type(node)]}({self._emit(node.this)}{more}){nulls}{over}"

    def _offset(self, node: exp.Expr, kind: str, nulls: str, over: str) -> str:
        offset, default = node.args.get("offset"), node.args.get("default")
        by = 1 if offset is None else self._whole(offset)
        target = spark_type(kind, node)
        of = (
            self._emit(node.this)
            if type_of(node.this) == kind
            else f"CAST({self._emit(node.this)} AS {target})"
        )
        if default is not None and type_of(default) not in (kind, *INTEGERS, '"NULL"'):
            refuse(node, "cast the default to the type of the value")
        more = f", CAST({self._emit(default)} AS {target})" if default is not None else ""
        return f"{OFFSETS[type(node)]}({of}, {by}{more}){nulls}{over}"

    def _whole(self, node: exp.Expr) -> int:
        value = self._types.constant(node) if node.find(exp.Column) is None else None
        if not isinstance(value, int):
            refuse(node, "give a constant integer")
        return value

    def _over(self, node: exp.Window, framed: bool = True) -> str:
        partition, order, spec = self._parts(node)
        texts = []
        if partition:
            texts.append("PARTITION BY " + ", ".join(self._emit(key) for key in partition))
        ranged = spec is not None and str(spec.args.get("kind")).upper() == "RANGE"
        if order is not None:
            texts.append("ORDER BY " + ", ".join(self._ordered(key, ranged) for key in order.expressions))
        if spec is not None and framed:
            texts.append(self._frame(spec, order, node))
        return f" OVER ({' '.join(texts)})"

    def _parts(self, node: exp.Window) -> tuple[list[exp.Expr], exp.Expr | None, exp.Expr | None]:
        """Partition, order and frame, of the window itself or of the one it names."""
        partition, order, spec = node.args.get("partition_by"), node.args.get("order"), node.args.get("spec")
        name = node.args.get("alias")
        if name is not None and node.arg_key != "windows":
            select = node.find_ancestor(exp.Select)
            named = select.args.get("windows") or [] if select is not None else []
            base = next((one for one in named if one.name.lower() == name.name.lower()), None)
            if base is None:
                refuse(node, f"there is no window {name.name}")
            inner = self._parts(base)
            return partition or inner[0], order or inner[1], spec or inner[2]
        return partition or [], order, spec

    def _ordered(self, key: exp.Expr, ranged: bool) -> str:
        text = self._emit(key.this)
        if ranged and type_of(key.this) == "DATE":
            text = f"CAST({text} AS TIMESTAMP_NTZ)"
        return f"{text}{ordering(key)}"

    def _frame(self, spec: exp.Expr, order: exp.Expr | None, node: exp.Window) -> str:
        kind = str(spec.args.get("kind")).upper()
        if kind not in ("ROWS", "RANGE") or spec.args.get("exclude"):
            refuse(node, "a frame is of ROWS or RANGE, without EXCLUDE")
        bounds = [self._bound(spec, side, kind, order, node) for side in ("start", "end")]
        return f"{kind} BETWEEN {bounds[0]} AND {bounds[1]}"

    def _bound(self, spec: exp.Expr, side: str, kind: str, order: exp.Expr | None, node: exp.Window) -> str:
        found, direction = spec.args.get(side), str(spec.args.get(f"{side}_side") or "").upper()
        if found is None or found == "CURRENT ROW":
            return "CURRENT ROW"
        if found == "UNBOUNDED":
            return f"UNBOUNDED {direction}"
        if kind == "ROWS":
            return f"{self._whole(found)} {direction}"
        if order is None or len(order.expressions) != 1:
            refuse(node, "a RANGE with a distance needs one ORDER BY key")
        return f"{self._distance(found, order.expressions[0].this, node)} {direction}"

    def _distance(self, found: exp.Expr, key: exp.Expr, node: exp.Window) -> str:
        if found.find(exp.Column) is not None:
            refuse(node, "a RANGE needs a constant distance")
        kind = type_of(key)
        if kind not in TIMES:
            return f"CAST({self._types.constant(found)} AS {spark_type(kind, key)})"
        months, micros = self._types.interval(found)
        if months:
            refuse(node, "months have no fixed length; use days in a RANGE")
        return day_time(micros)


def ordering(key: exp.Expr) -> str:
    """The direction of an ORDER BY key and where its nulls go."""
    nulls = "FIRST" if key.args.get("nulls_first") else "LAST"
    return f"{' DESC' if key.args.get('desc') else ' ASC'} NULLS {nulls}"


def _type_outside(node: exp.Expr) -> str:
    """The type of an aggregate, which its window has where there is one."""
    while in_window(node):
        node = node.parent
    return type_of(node)


def _finite(x: str, name: str) -> str:
    finite = f"WHEN {x} < CAST('Infinity' AS DOUBLE) THEN {x}"
    return f"CASE WHEN {x} IS NULL THEN NULL {finite} ELSE raise_error('{name} is out of range') END"


def _scale(kind: str) -> int:
    return int(kind.rstrip(")").split(",")[1])
