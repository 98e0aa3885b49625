"""Which of the ledger's decisions the audit log does not have yet. Both lie in one database, so it can be asked."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from pipelines.stores.audit.log import AUDIT
from pipelines.stores.databases import engine
from pipelines.stores.ledger_tables import HISTORY

DECISIONS = ("committed", "refused", "released", "discarded")
ONCE = "ledger:"


@dataclass(frozen=True)
class Decided:
    """A step of a batch's way that was a decision; `step` is what became of the batch, `who` process or person."""

    id: int
    digest: str
    dataset: str
    step: str
    who: str
    at: datetime
    note: str | None

    @property
    def once(self) -> str:
        """The name under which the audit log has it."""
        return f"{ONCE}{self.id}"


class Decisions:
    """The ledger's decisions of one deployment. Audit log and ledger must have been opened once before."""

    def __init__(self, url: str) -> None:
        self._engine = engine(url)

    def unsaid(self, dataset: str | None = None, digests: Collection[str] | None = None) -> Sequence[Decided]:
        """Decisions on a dataset's batches, or on these alone, that are not in the audit log, in order."""
        steps = _decisions(dataset, digests)
        name = sa.literal(ONCE) + sa.cast(steps.c.id, sa.Text)
        query = sa.select(*(steps.c[field] for field in Decided.__dataclass_fields__))
        query = query.outerjoin_from(steps, AUDIT, AUDIT.c.once == name).where(AUDIT.c.number.is_(None))
        with self._engine.connect() as connection:
            return [Decided(**row._mapping) for row in connection.execute(query.order_by(steps.c.id))]


def _decisions(dataset: str | None, digests: Collection[str] | None) -> sa.Subquery:
    """Committed, refused, released, discarded; and `archived` where that is how judging released rows ended."""
    its = [HISTORY.c.dataset, HISTORY.c.digest]
    before = sa.func.lag(HISTORY.c.step).over(partition_by=its, order_by=HISTORY.c.id).label("before")
    ways = sa.select(HISTORY, before)
    ways = ways if dataset is None else ways.where(HISTORY.c.dataset == dataset)
    ways = ways if digests is None else ways.where(HISTORY.c.digest.in_(digests))
    way = ways.subquery()
    ended = sa.and_(way.c.step == "archived", way.c.before == "claimed")
    return sa.select(way).where(sa.or_(way.c.step.in_(DECISIONS), ended)).subquery()
