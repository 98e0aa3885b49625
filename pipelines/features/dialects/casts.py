"""DuckDB's casts as Spark SQL: it rounds where Spark cuts off, and reads text more freely."""

import re

from sqlglot import exp

from pipelines.features.dialects.types import FLOATS, INTEGERS, refuse, spark_type

WHOLE = (*INTEGERS, "BOOLEAN")
LARGEST = {"BIGINT": "9223372036854775807D"}
"""As a DOUBLE this is 2^63, one too many; Spark would take it."""
FORMS = {
    "INTEGER": "-?[0-9]{1,18}", "BIGINT": "-?[0-9]{1,18}", "SMALLINT": "-?[0-9]{1,18}", "TINYINT": "-?[0-9]{1,18}",
    "DOUBLE": "-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?", "BOOLEAN": "true|false",
    "DATE": "[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "TIMESTAMP": "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?",
}  # fmt: skip
"""Text that both engines read as the same value; any other ends the query."""
AS_TEXT = (*INTEGERS, "BOOLEAN", "DATE", "TIMESTAMP")


def cast(text: str, have: str, want: str, node: exp.Expr) -> str:
    """Spark SQL of a value of DuckDB's type `have` as DuckDB casts it to `want`."""
    if have == want:
        return text
    target = spark_type(want, node)
    if have == '"NULL"' or _exact(have, want):
        return f"CAST({text} AS {target})"
    if have.startswith("DECIMAL") and want in INTEGERS:
        return f"CAST(round({text}, 0) AS {target})"
    if have in FLOATS and want in INTEGERS:
        return _rounded(text, want, target, node)
    if have in FLOATS and want.startswith("DECIMAL"):
        return _to_decimal(text, want, node)
    if (have, want) == ("DOUBLE", "FLOAT"):
        infinite = "CAST('Infinity' AS DOUBLE)"
        wrong = f"abs({text}) < {infinite} AND abs(CAST({text} AS FLOAT)) = {infinite}"
        return f"CASE WHEN {wrong} THEN raise_error('too large for FLOAT') ELSE CAST({text} AS FLOAT) END"
    if have == "VARCHAR" and want in FORMS:
        right = f"{text} RLIKE '^({FORMS[want]})$'"
        failed = f"raise_error('text that is no plain {want}')"
        return f"CASE WHEN NOT {right} THEN {failed} ELSE CAST({text} AS {target}) END"
    return refuse(node, f"a cast of {have} to {want} is not the same on Spark")


def _exact(have: str, want: str) -> bool:
    """Whether Spark's own cast gives DuckDB's value, or fails where it fails."""
    number = have in WHOLE or have.startswith("DECIMAL")
    if have in WHOLE and (want in WHOLE or want.startswith("DECIMAL")):
        return True
    if number and (want in FLOATS or want == "BOOLEAN"):
        return True
    if have.startswith("DECIMAL") and (want.startswith("DECIMAL") or want == "VARCHAR"):
        return True
    return (have in AS_TEXT and want == "VARCHAR") or (have, want) in (
        ("FLOAT", "DOUBLE"), ("DATE", "TIMESTAMP"), ("TIMESTAMP", "DATE"),
    )  # fmt: skip


def _rounded(text: str, want: str, target: str, node: exp.Expr) -> str:
    """To the nearest integer, halves to the even one."""
    if want == "HUGEINT":
        refuse(node, "cast to BIGINT instead")
    whole = f"CAST(rint({text}) AS {target})"
    if want not in LARGEST:
        return whole
    return f"CASE WHEN {text} = {LARGEST[want]} THEN raise_error('too large for {want}') ELSE {whole} END"


def _to_decimal(text: str, want: str, node: exp.Expr) -> str:
    """By DuckDB's way: scaled as a DOUBLE, then to the nearest integer, halves away from zero."""
    precision, scale = (int(part) for part in re.findall(r"\d+", want))
    if precision > 15:
        refuse(node, "a DOUBLE holds 15 digits; cast it to DECIMAL(15, n) at most")
    x = f"({text} * {10**scale}D)"
    whole = f"CASE WHEN abs({x} - rint({x})) = 0.5D THEN {x} + 0.5D * signum({x}) ELSE rint({x}) END"
    return f"CAST(CAST({whole} AS BIGINT) * CAST('{10**-scale:.{scale}f}' AS DECIMAL({scale + 1},{scale})) AS {want})"
