"""Names that SQL, Feast, Delta and Python all take, made of whatever a file's header says."""

import keyword
import re
import unicodedata
from collections.abc import Iterable

from pipelines.contracts import EvergreenError

LONGEST = 60
OURS = {
    "label", "split", "event_timestamp", "created_timestamp", "label_known_at", "series", "answer", "prediction_id",
    "baseline", "candidate", "champion", "anchor", "block", "how_many", "moments", "row_id", "recorded_at",
}  # fmt: skip
"""What training rows and evidence have beside a person's columns."""
SQL = {
    "all", "analyse", "analyze", "and", "anti", "any", "array", "as", "asc", "asof", "asymmetric", "at",
    "authorization", "between", "binary", "both", "by", "case", "cast", "check", "collate", "collation",
    "column", "columns", "concurrently", "constraint", "create", "cross", "current", "current_date",
    "current_time", "current_timestamp", "current_user", "date", "default", "deferrable", "delete", "desc",
    "describe", "distinct", "do", "drop", "else", "end", "except", "exists", "false", "fetch", "filter",
    "following", "for", "foreign", "freeze", "from", "full", "generated", "glob", "grant", "group", "having",
    "ilike", "in", "initially", "inner", "insert", "intersect", "interval", "into", "is", "isnull", "join",
    "lambda", "lateral", "leading", "left", "like", "limit", "localtime", "map", "natural", "not", "notnull",
    "null", "offset", "on", "only", "or", "order", "outer", "over", "overlaps", "partition", "pivot",
    "pivot_longer", "pivot_wider", "placing", "positional", "preceding", "primary", "qualify", "range",
    "references", "returning", "right", "row", "rows", "select", "semi", "session_user", "set", "show",
    "similar", "some", "struct", "summarize", "symmetric", "table", "tablesample", "then", "time",
    "timestamp", "to", "trailing", "true", "try_cast", "unbounded", "union", "unique", "unpack", "unpivot",
    "update", "user", "using", "values", "variadic", "verbose", "view", "when", "where", "window", "with",
}  # fmt: skip
"""What DuckDB, Spark or PostgreSQL read as their own, at least in some places."""
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def mapped(headers: Iterable[str]) -> list[str]:
    """A name for each header, in order, no two alike but for case; one that is fit stays as it is."""
    made: list[str] = []
    for number, header in enumerate(headers, 1):
        base, count = _fit(header, number), 1
        name = base
        while name.lower() in {other.lower() for other in made}:
            count += 1
            name = f"{base}_{count}"
        made.append(name)
    return made


def _fit(header: str, number: int) -> str:
    if PLAIN.fullmatch(header) and "__" not in header and not header.endswith("_"):
        name = header[:LONGEST].rstrip("_")
    else:
        plain = unicodedata.normalize("NFKD", header).encode("ascii", "ignore").decode()
        name = re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_").lower()[:LONGEST].rstrip("_")
        name = name if name[:1].isalpha() else f"column_{name or number}"
    lower = name.lower()
    reserved = lower in OURS | SQL or keyword.iskeyword(lower) or keyword.iskeyword(name)
    return f"{name}_value" if reserved else name


def of_model(name: str, taken: dict[str, str]) -> str:
    """A model's name as given; EvergreenError if it cannot be one, or reads as a file of another dataset.

    `taken` are the datasets' patterns by name.
    """
    if re.fullmatch(r"[a-z][a-z0-9_]{1,39}", name) is None or "__" in name or name.endswith("_"):
        raise EvergreenError(
            f"{name!r} cannot be a model's name: 2 to 40 lower-case letters, digits and single _, beginning with a"
            " letter, such as bike_rentals"
        )
    if name in OURS | SQL | {"labels", "features", "status"} or keyword.iskeyword(name):
        raise EvergreenError(
            f"{name!r} means something in SQL or Python; name the model otherwise, such as {name}_model"
        )
    clash = [
        other for other in taken if f"{other}_".startswith(f"{name}_") or f"{name}_".startswith(f"{other}_")
    ]
    if clash:
        raise EvergreenError(
            f"files of {name} (`{name}_*`) could be taken for those of dataset {clash[0]} (`{taken[clash[0]]}`);"
            " choose a name that does not begin as the other does"
        )
    return name
