"""Makes the names in a query plain: no stars, no aliases used beside themselves, no GROUP BY ALL."""

from collections.abc import Mapping
from datetime import datetime

from sqlglot import exp

from pipelines.contracts import EvergreenError
from pipelines.features.dialects.types import Types, aggregates, nested, refuse, visible, within


def bind(tree: exp.Expr, parameters: Mapping[str, datetime]) -> set[str]:
    """Put the parameters' values (naive UTC) in place of `$name`; the names that were asked for."""
    used = set()
    for mark in list(tree.find_all(exp.Placeholder, exp.Parameter)):
        name = mark.name
        if name not in parameters:
            raise EvergreenError(
                f"the SQL asks for ${name}; give it, there are: {', '.join(parameters) or 'none'}"
            )
        used.add(name)
        moment = exp.Literal.string(f"{parameters[name]:%Y-%m-%d %H:%M:%S.%f}")
        mark.replace(exp.Cast(this=moment, to=exp.DataType.build("timestamp")))
    return used


def plain(tree: exp.Expr, types: Types) -> None:
    """Rewrite each SELECT so that every name in it is a column of its FROM. DuckDB reads it as before.

    A name in SELECT, WHERE, HAVING or QUALIFY is a column first, then an alias; in ORDER BY an alias first.
    """
    for select in list(tree.find_all(exp.Select)):
        columns = _columns(select, types)
        _expand_stars(select, types)
        _expand_aliases(select, columns)
        _expand_keys(select, columns)
        _number_order(select)


def _columns(select: exp.Select, types: Types) -> set[str]:
    """The names that FROM and JOIN give, in lower case."""
    if not select.args.get("from_"):
        return set()
    return {name.lower() for name, _ in types.described(_from_only(select, exp.Star()))}


def _from_only(select: exp.Select, projection: exp.Expr) -> exp.Select:
    """`SELECT projection` over the same FROM, at the same place in the tree so that CTEs are seen."""
    asked = exp.Select(expressions=[projection.copy()])
    asked.set("from_", select.args["from_"].copy())
    asked.set("joins", [join.copy() for join in select.args.get("joins") or []])
    asked.set("with_", exp.With(expressions=[cte.copy() for cte in visible(select)]))
    return asked


def _expand_stars(select: exp.Select, types: Types) -> None:
    found: list[exp.Expr] = []
    for projection in select.expressions:
        if not projection.is_star or isinstance(projection, exp.Alias | exp.Count):
            found.append(projection)
            continue
        star = projection if isinstance(projection, exp.Star) else projection.this
        if isinstance(star, exp.Star) and (star.args.get("replace") or star.args.get("rename")):
            refuse(projection, "write the columns out instead of REPLACE or RENAME")
        names = [name for name, _ in types.described(_from_only(select, projection))]
        if len({name.lower() for name in names}) < len(names):
            refuse(projection, "two of its columns share a name; write the columns out")
        table = projection.table if isinstance(projection, exp.Column) else None
        found += [exp.column(name, table or None, quoted=True) for name in names]
    select.set("expressions", found)


def _expand_aliases(select: exp.Select, columns: set[str]) -> None:
    aliases: dict[str, exp.Expr] = {}
    for projection in select.expressions:
        _replace_names(projection, aliases, columns)
        if isinstance(projection, exp.Alias):
            aliases.setdefault(projection.alias.lower(), projection.this)
    for key in ("where", "having", "qualify"):
        part = select.args.get(key)
        if part is not None:
            _replace_names(part, aliases, columns)


def _replace_names(root: exp.Expr, aliases: Mapping[str, exp.Expr], columns: set[str]) -> None:
    """Put the expression in place of an alias, where no column has the name."""
    for part in list(within(root)):
        if not isinstance(part, exp.Column) or part.table or part.name.lower() in columns:
            continue
        meant = aliases.get(part.name.lower())
        if meant is not None:
            if meant.find(exp.Explode):
                refuse(part, "it names an unnest of the same SELECT; unnest in a CTE first")
            part.replace(exp.Paren(this=meant.copy()))


def _expand_keys(select: exp.Select, columns: set[str]) -> None:
    """GROUP BY's keys as expressions: ALL, positions and aliases are gone."""
    group = select.args.get("group")
    if group is None:
        return
    if any(group.args.get(kind) for kind in ("grouping_sets", "cube", "rollup", "totals")):
        refuse(group, "group in several SELECTs and unite them")
    chosen = select.expressions if group.args.get("all") else group.expressions
    keys = [_key(key, select, columns) for key in chosen]
    keys = [
        key
        for key in keys
        if not aggregates(key) and not isinstance(key, exp.Literal | exp.Null | exp.Boolean)
    ]
    if not keys:
        refuse(group, "its keys are all constants; leave it out")
    select.set("group", exp.Group(expressions=keys))


def _key(key: exp.Expr, select: exp.Select, columns: set[str]) -> exp.Expr:
    if (
        isinstance(key, exp.Literal)
        and key.is_int
        and key.arg_key == "expressions"
        and key.parent is not select
    ):
        key = select.expressions[int(key.this) - 1]
    if isinstance(key, exp.Column) and not key.table and key.name.lower() not in columns:
        key = next((p for p in select.expressions if p.alias_or_name.lower() == key.name.lower()), key)
    key = key.unalias()
    if key.find(exp.Explode, exp.Unnest) or any(isinstance(part, exp.Window) for part in within(key)):
        refuse(key, "unnest, or compute the window, in a CTE before grouping")
    return key.copy()


def _number_order(select: exp.Select) -> None:
    """ORDER BY's aliases as positions, which mean the same in both."""
    order = select.args.get("order")
    names = [projection.alias_or_name.lower() for projection in select.expressions]
    for ordered in order.expressions if order is not None else ():
        key = ordered.this
        if isinstance(key, exp.Column) and not key.table and key.name.lower() in names:
            key.replace(exp.Literal.number(names.index(key.name.lower()) + 1))
        elif isinstance(key, exp.Column) and key.name.lower() == "all" and not key.table:
            refuse(order, "name the columns to order by")
        elif not nested(key):
            aliases = {p.alias.lower(): p.this for p in select.expressions if isinstance(p, exp.Alias)}
            _replace_names(ordered, aliases, set())
