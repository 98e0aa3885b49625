"""DuckDB's arithmetic beyond + - * as Spark SQL: division, rounding and mathematics."""

from collections.abc import Callable
from typing import Any, Protocol

from sqlglot import exp

from pipelines.features.dialects.types import FLOATS, INTEGERS, Types, refuse, spark_type, type_of

PLAIN = {exp.Sin: "sin", exp.Cos: "cos", exp.Tan: "tan", exp.Atan: "atan", exp.Exp: "exp"}


class Writer(Protocol):
    """Writes the expressions inside one."""

    types: Types

    def emit(self, node: exp.Expr) -> str: ...

    def to(self, node: exp.Expr, kind: str) -> str: ...


Handler = Callable[[Any, Any], str]


def once(node: exp.Expr, body: Callable[..., str], *texts: str) -> str:
    """What `body` makes of texts that it repeats. Windows in them are computed once: Spark would not see that."""
    if node.find(exp.Window) is None:
        return body(*texts)
    fields = ", ".join(f"'v{n}', {text}" for n, text in enumerate(texts))
    names = [f"s.v{n}" for n in range(len(texts))]
    return f"transform(array(named_struct({fields})), s -> {body(*names)})[0]"


def _div(v: Writer, node: exp.Div) -> str:
    if type_of(node) not in FLOATS:
        refuse(node, "divide numbers; an interval becomes seconds by epoch()")
    top, bottom = v.to(node.left, "DOUBLE"), v.to(node.right, "DOUBLE")
    if isinstance(node.right, exp.Literal) and float(node.right.this) != 0:
        text = f"({top} / {bottom})"
    else:
        text = once(node, _signed if type_of(node.right) in FLOATS else _divided, top, bottom)
    return f"CAST({text} AS FLOAT)" if type_of(node) == "FLOAT" else text


def _divided(top: str, bottom: str, by_zero: str = "CAST('Infinity' AS DOUBLE)") -> str:
    """As IEEE 754 says: a number by zero is infinite, zero by zero is NaN."""
    return f"CASE WHEN {bottom} = 0D THEN {top} * {by_zero} ELSE {top} / {bottom} END"


def _signed(top: str, bottom: str) -> str:
    infinite = "CAST('Infinity' AS DOUBLE)"
    return _divided(
        top, bottom, f"CASE WHEN CAST({bottom} AS STRING) = '-0.0' THEN - {infinite} ELSE {infinite} END"
    )


def _int_div(v: Writer, node: exp.IntDiv) -> str:
    kind = type_of(node)
    if kind not in INTEGERS:
        refuse(node, "// is for integers; use floor(a / b)")
    text = f"({v.to(node.left, kind)} div nullif({v.to(node.right, kind)}, 0))"
    return f"CAST({text} AS {spark_type(kind, node)})"


def _mod(v: Writer, node: exp.Mod) -> str:
    kind = type_of(node)
    if kind in INTEGERS:
        text = f"({v.to(node.left, kind)} % nullif({v.to(node.right, kind)}, 0))"
        return f"CAST({text} AS {spark_type(kind, node)})"
    if kind != "DOUBLE":
        refuse(node, "take % of integers or DOUBLE")
    return once(node, _remainder, v.to(node.left, kind), v.to(node.right, kind))


def _remainder(top: str, bottom: str) -> str:
    return f"CASE WHEN {bottom} = 0D THEN {top} * CAST('NaN' AS DOUBLE) ELSE {top} % {bottom} END"


def _sign(v: Writer, node: exp.Sign) -> str:
    x = v.emit(node.this)
    unknown = f"WHEN isnan({x}) THEN 0 " if type_of(node.this) in FLOATS else ""
    return f"CAST(CASE {unknown}WHEN {x} > 0 THEN 1 WHEN {x} < 0 THEN -1 WHEN {x} = 0 THEN 0 END AS TINYINT)"


def _rounded(text: str) -> str:
    """To the nearest whole DOUBLE, halves away from zero."""
    return f"CASE WHEN abs({text} - rint({text})) = 0.5D THEN {text} + 0.5D * signum({text}) ELSE rint({text}) END"


def _round(v: Writer, node: exp.Round) -> str:
    digits, kind = node.args.get("decimals"), type_of(node)
    places = 0 if digits is None else v.types.constant(digits) if digits.find(exp.Column) is None else -1
    if not 0 <= places <= 15 or kind == "FLOAT":
        refuse(node, "round DOUBLE or DECIMAL to a constant 0 to 15 places")
    if kind.startswith("DECIMAL"):
        return f"CAST(round({v.emit(node.this)}, {places}) AS {kind})"
    if kind != "DOUBLE":
        return v.emit(node.this)
    x, scale = v.to(node.this, kind), f"{10**places}D"
    if digits is None:
        return once(node, _rounded, x)
    return once(node, lambda x: _rounded_to(x, scale), x)


def _rounded_to(x: str, scale: str) -> str:
    """To a place after the point, by DuckDB's way: scaled, rounded, scaled back."""
    found = f"({_rounded(f'({x} * {scale})')}) / {scale}"
    return f"CASE WHEN abs({x} * {scale}) < CAST('Infinity' AS DOUBLE) THEN {found} ELSE {x} END"


def _step(sign: str, order: str) -> Handler:
    """floor and ceil, which stay DOUBLE."""

    def emit(v: Writer, node: exp.Func) -> str:
        kind = type_of(node)
        if kind.startswith("DECIMAL"):
            return f"CAST({node.key}({v.emit(node.this)}) AS {kind})"
        if kind != "DOUBLE" or len([one for one in node.args.values() if one]) > 1:
            refuse(node, "take it of one DOUBLE or DECIMAL")
        return once(node, whole, v.to(node.this, kind))

    def whole(x: str) -> str:
        return f"CASE WHEN rint({x}) {order} {x} THEN rint({x}) {sign} 1D ELSE rint({x}) END"

    return emit


def guarded(text: str, wrong: str, why: str, otherwise: str) -> str:
    """A value, but a query that ends with a reason where a condition holds."""
    return f"CASE WHEN {text} {wrong} THEN raise_error('{why}') ELSE {otherwise} END"


def _sqrt(v: Writer, node: exp.Sqrt) -> str:
    x = v.to(node.this, "DOUBLE")
    return once(node, lambda x: guarded(x, "< 0D", "square root of a negative number", f"sqrt({x})"), x)


def _log(v: Writer, node: exp.Expr) -> str:
    base, of = (None, node.this) if node.args.get("expression") is None else (node.this, node.expression)
    name = "ln" if isinstance(node, exp.Ln) else "log10"
    if base is not None:
        found = v.types.constant(base) if base.find(exp.Column) is None else None
        if found not in (2, 10):
            refuse(node, "take ln, log2 or log10")
        name = f"log{found}"
    x = v.to(of, "DOUBLE")
    return once(node, lambda x: guarded(x, "<= 0D", "logarithm of no positive number", f"{name}({x})"), x)


def _plain(v: Writer, node: exp.Func) -> str:
    return f"{PLAIN[type(node)]}({v.to(node.this, 'DOUBLE')})"


def _pow(v: Writer, node: exp.Pow) -> str:
    return f"power({v.to(node.this, 'DOUBLE')}, {v.to(node.expression, 'DOUBLE')})"


def _is_infinite(v: Writer, node: exp.IsInf) -> str:
    return f"(abs({v.to(node.this, 'DOUBLE')}) = CAST('Infinity' AS DOUBLE))"


NUMBERS: dict[type, Handler] = {
    **dict.fromkeys(PLAIN, _plain),
    exp.Div: _div, exp.IntDiv: _int_div, exp.Mod: _mod, exp.Sign: _sign, exp.Round: _round,
    exp.Floor: _step("-", ">"), exp.Ceil: _step("+", "<"), exp.Sqrt: _sqrt, exp.Ln: _log, exp.Log: _log,
    exp.Pow: _pow, exp.IsInf: _is_infinite,
}  # fmt: skip
"""How each is written."""
