"""What Great Expectations asks of single rows, answered for all its expectations by one scan.

GX bundles what it counts, but asks of each expectation by itself for the first rows that fail, twice, and of pairs of
columns for their counts: four scans for an expectation that nothing fails. Here one scan counts the rows that fail
each condition; where none does, there is none to be listed. (Rules on the length of texts are ready a round later than
others, and have a scan of their own.) Whatever else is asked, and every condition of which this is not plain, is GX's
own to answer. So are failing rows.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import ColumnClause, Over, TextClause
from sqlalchemy.sql.selectable import (
    AliasedReturnsRows,
    Join,
    ScalarSelect,
    Select,
    SelectBase,
    Subquery,
    TableClause,
)

CONDITION, AGGREGATE = "unexpected_condition", "metric_partial_fn"
LISTS = ("unexpected_values", "unexpected_index_list", "unexpected_rows", "unexpected_value_counts")
"""What GX calls the rows that fail a condition, in its several forms."""
OTHERS = (Over, SelectBase, ScalarSelect, AliasedReturnsRows, TableClause, Join, TextClause)
"""Parts of a condition that look beyond the row."""
Metrics = Mapping[Any, Any]


class Counted(NamedTuple):
    """How many rows a condition is about, and how many fail it."""

    rows: int
    failing: int


class OneScan:
    """Stands before a GX engine of one unchanging table, and asks it only what the scan has not answered."""

    def __init__(self, execution: Any) -> None:
        self._execution, self._ask = execution, execution.resolve_metrics
        self._counted: dict[Any, Counted] = {}

    def resolve_metrics(
        self,
        metrics_to_resolve: Iterable[Any],
        metrics: Metrics | None = None,
        runtime_configuration: Any = None,
    ) -> dict[Any, Any]:
        """The values of GX's metrics by their ids, as its engine would give them."""
        asked = list(metrics_to_resolve)
        self._count({_condition(each) for each in asked} - {None} - self._counted.keys(), metrics or {})
        known = {each.id: value for each in asked for value in self._answer(each)}
        rest = [each for each in asked if each.id not in known]
        return known | (self._ask(rest, metrics, runtime_configuration) if rest else {})

    def _answer(self, metric: Any) -> list[Any]:
        """The value of a metric in a list; an empty one where GX must be asked."""
        counted = self._counted.get(_condition(metric))
        if counted is None:
            return []
        what = metric.metric_name.rpartition(".")[2]
        if what == "filtered_row_count":
            return [counted.rows]
        # A sum over no rows is NULL.
        if what == "unexpected_count" and (counted.rows or AGGREGATE not in metric.metric_dependencies):
            return [counted.failing]
        if what in LISTS and not counted.failing and _listed(metric):
            return [[]]
        return []

    def _count(self, conditions: set[Any], metrics: Metrics) -> None:
        """Count the rows that fail each condition, all in one scan; of what cannot be counted so, nothing is known."""
        parts: list[Any] = []
        counted = []
        for condition in sorted(conditions & metrics.keys(), key=str):
            failing, *domain = metrics[condition]
            filters = self._filters(dict(*domain[:1], **domain[1]))
            if filters is not None and _plain(failing):
                counted.append(condition)
                parts += [
                    sa.func.count().filter(sa.and_(sa.true(), *each))
                    for each in (filters, [*filters, failing])
                ]
        if not counted:
            return
        try:
            query = sa.select(*parts).select_from(self._execution.get_domain_records({}))
            numbers = iter(self._execution.execute_query(query).one())
        except Exception:  # one that cannot be computed at all: GX says which
            return
        self._counted |= {condition: Counted(next(numbers), next(numbers)) for condition in counted}

    def _filters(self, domain: dict[str, Any]) -> list[Any] | None:
        """What leaves rows of the table out of a metric's domain; None if it is no plain part of the table."""
        whole = self._execution.get_domain_records({})
        found, records = [], self._execution.get_domain_records(domain)
        while records is not whole:
            query = records.element if isinstance(records, Subquery) else records
            if not isinstance(query, Select) or query.whereclause is None or not _plain(query.whereclause):
                return None
            found.append(query.whereclause)
            records, *more = query.get_final_froms()
            if more:
                return None
        return found


def _condition(metric: Any) -> Any:
    """The id of the condition on rows behind a metric; None if there is none."""
    behind = metric.metric_dependencies
    partial = behind.get(AGGREGATE)
    found = behind.get(CONDITION) or (partial.metric_dependencies.get(CONDITION) if partial else None)
    return found.id if found is not None else None


def _listed(metric: Any) -> bool:
    """Whether GX would give a list at all: of lines, only where it is told which column names them."""
    shape = metric.metric_value_kwargs.get("result_format") or {}
    return not metric.metric_name.endswith("index_list") or "unexpected_index_column_names" in shape


def _plain(condition: Any) -> bool:
    """Whether a condition is of one row and its columns alone."""
    return isinstance(condition, sa.ColumnElement) and not any(
        isinstance(part, OTHERS) or (isinstance(part, ColumnClause) and part.table is not None)
        for part in visitors.iterate(condition)
    )
