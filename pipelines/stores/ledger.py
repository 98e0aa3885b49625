"""The arrival ledger: which file came, who works on it, where its rows went. It is the truth; events are hints."""

import getpass
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pipelines.contracts import Batch, BatchState, Claim, EvergreenError, IngestResult, as_json
from pipelines.processes import died, identity
from pipelines.stores.databases import Utc, create, engine, insert
from pipelines.stores.ledger_tables import ATTEMPTS, BATCHES, HISTORY, METADATA, NAMES, SCHEMAS, UNOPENED

BATCH = [BATCHES.c[name] for name in ("digest", "dataset", "name", "size", "state", "reason")]
RESULT = [BATCHES.c[name] for name in IngestResult.__dataclass_fields__]
OPEN = (BatchState.SEEN.value, BatchState.CLAIMED.value)
FAILED = "failed"
ENDS = (BatchState.REFUSED.value, BatchState.COMMITTED.value, BatchState.ARCHIVED.value)
TAKEN = (BatchState.COMMITTED.value, BatchState.ARCHIVED.value)


@dataclass(frozen=True)
class Step:
    """One step of a batch's way: what became of it, by whom (process or person), and when."""

    step: str
    who: str
    at: datetime
    note: str | None = None


class Ledger:
    """One row per batch in SQLite or PostgreSQL; its state moves forward only, and every step is kept."""

    def __init__(self, url: str) -> None:
        self._engine = engine(url)
        create(self._engine, METADATA)

    def see(self, batch: Batch) -> Batch:
        """Notes a file; the batch as already known if its bytes came before, under whatever name."""
        now = datetime.now(UTC)
        row = asdict(batch) | {"state": batch.state.value, "seen_at": now}
        name = {"digest": batch.digest, "dataset": batch.dataset, "name": batch.name, "seen_at": now}
        # Writes come first: SQLite refuses at once to turn a reader that saw old data into a writer.
        with self._engine.begin() as connection:
            new = connection.execute(self._insert(BATCHES).values(row).on_conflict_do_nothing()).rowcount
            connection.execute(self._insert(NAMES).values(name).on_conflict_do_nothing())
            if new:
                self._note(connection, batch.digest, batch.dataset, "seen", batch.name)
            found = connection.execute(sa.select(*BATCH).where(_is(batch))).one()
        return Batch(**{**found._mapping, "state": BatchState(found.state)})

    def claim(self, batch: Batch | IngestResult, lease: float) -> Claim | None:
        """The right to take a batch in (or its released rows) for `lease` seconds; None if there is nothing
        to do or another process that may be alive holds it."""
        now, row = datetime.now(UTC), self._row(batch)
        if row is None or not (row.releasing or row.state in OPEN):
            return None
        free = sa.or_(BATCHES.c.holder.is_(None), BATCHES.c.lease_until < now)
        if row.holder is not None and died(row.holder):
            free = sa.or_(free, BATCHES.c.token == row.token)
        state = row.state if row.releasing else BatchState.CLAIMED.value
        update = (
            sa.update(BATCHES)
            .where(_is(batch), BATCHES.c.state == row.state, BATCHES.c.releasing == row.releasing, free)
            .values(
                state=state,
                token=BATCHES.c.token + 1,
                holder=identity(),
                lease_until=now + timedelta(seconds=lease),
            )
            .returning(BATCHES.c.token, BATCHES.c.round)
        )
        with self._engine.begin() as connection:
            won = connection.execute(update).one_or_none()
            if won is not None:
                self._note(connection, batch.digest, batch.dataset, "claimed", f"token {won.token}")
        return None if won is None else Claim(batch.digest, batch.dataset, won.token, won.round)

    def renew(self, claim: Claim, lease: float) -> bool:
        """A sign of life: the lease runs anew. False once another has claimed the batch."""
        until = datetime.now(UTC) + timedelta(seconds=lease)
        update = sa.update(BATCHES).where(_is(claim), _holds(claim)).values(lease_until=until)
        with self._engine.begin() as connection:
            return bool(connection.execute(update).rowcount)

    def let_go(self, claim: Claim) -> None:
        """Gives a claim back unfinished, so that the next run need not wait for the lease to end."""
        with self._engine.begin() as connection:
            connection.execute(sa.update(BATCHES).where(_is(claim), _holds(claim)).values(holder=None))

    def failed(self, claim: Claim, why: str) -> int:
        """Notes that a try came to nothing by a fault of ours; how many have since the batch came or was released."""
        steps = sa.select(HISTORY.c.step).where(
            HISTORY.c.digest == claim.digest, HISTORY.c.dataset == claim.dataset
        )
        with self._engine.begin() as connection:
            self._note(connection, claim.digest, claim.dataset, FAILED, why)
            update = sa.update(BATCHES).where(_is(claim), _holds(claim), BATCHES.c.state.in_(OPEN))
            connection.execute(update.values(reason=why))
            way = [row.step for row in connection.execute(steps.order_by(HISTORY.c.id))]
        since = max((at for at, step in enumerate(way) if step == "released"), default=0)
        return way[since:].count(FAILED)

    def prepare(self, claim: Claim, result: IngestResult) -> None:
        """Writes down what the claim's silver commit will mean, before it is made."""
        key, said = {"digest": claim.digest, "dataset": claim.dataset, "token": claim.token}, as_json(result)
        statement = self._insert(ATTEMPTS).values(key | {"result": said})
        with self._engine.begin() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=list(key), set_={"result": said})
            )

    def prepared(self, digest: str, dataset: str, token: int) -> IngestResult:
        """What an attempt whose silver commit went through had written down."""
        query = sa.select(ATTEMPTS.c.result).where(
            ATTEMPTS.c.digest == digest, ATTEMPTS.c.dataset == dataset, ATTEMPTS.c.token == token
        )
        found = self._rows(query)
        if not found:
            raise EvergreenError(
                f"{dataset}: silver holds batch {digest[:12]} by attempt {token}, which this ledger does not know;"
                " point EVERGREEN_DATABASE_URL at the ledger that belongs to this lake"
            )
        times = ("first_known", "last_known")
        plain = found[0].result | {
            n: datetime.fromisoformat(v) for n in times if (v := found[0].result.get(n)) is not None
        }
        return IngestResult(**plain | {"state": BatchState(plain["state"])})

    def record(self, result: IngestResult, claim: Claim | None = None) -> None:
        """Ends a batch, or a release of its rows, once; a claim that was outranked ends nothing."""
        now = datetime.now(UTC)
        row = {k: v for k, v in asdict(result).items() if k != "name"} | {"state": result.state.value}
        row |= {"holder": None, "releasing": False, "round": BATCHES.c.round + 1}
        still = sa.or_(BATCHES.c.state.in_(OPEN), BATCHES.c.releasing)
        update = sa.update(BATCHES).where(_is(result), still)
        if claim is not None:
            update = update.where(_holds(claim))
        attempt = sa.and_(
            ATTEMPTS.c.digest == result.digest,
            ATTEMPTS.c.dataset == result.dataset,
            ATTEMPTS.c.token == result.attempt,
        )
        with self._engine.begin() as connection:
            connection.execute(self._insert(BATCHES).values(_seen(result, now)).on_conflict_do_nothing())
            if connection.execute(update.values(row)).rowcount:
                connection.execute(sa.update(ATTEMPTS).where(attempt).values(decided=True))
                self._note(connection, result.digest, result.dataset, result.state.value, result.reason)

    def archived(self, batch: Batch | IngestResult) -> None:
        """Notes that a committed batch's file lies in the archive."""
        update = sa.update(BATCHES).where(_is(batch), BATCHES.c.state == BatchState.COMMITTED.value)
        with self._engine.begin() as connection:
            if connection.execute(update.values(state=BatchState.ARCHIVED.value)).rowcount:
                self._note(connection, batch.digest, batch.dataset, "archived", None)

    def release(self, batch: IngestResult, who: str, why: str) -> None:
        """Opens a refused file, or a batch's quarantined rows, to be judged again by today's rules."""
        values: dict[str, Any] = {"discarded": False}
        if batch.state is BatchState.REFUSED:
            values |= {"state": BatchState.SEEN.value, "reason": None}
        else:
            values |= {"releasing": True}
        self._resolve(batch, "released", who, why, values)

    def discard(self, batch: IngestResult, who: str, why: str) -> None:
        """Closes a refused file or quarantined rows for good; nothing is deleted."""
        self._resolve(batch, "discarded", who, why, {"discarded": True})

    def _resolve(self, batch: IngestResult, step: str, who: str, why: str, values: dict[str, Any]) -> None:
        update = sa.update(BATCHES).where(_is(batch), BATCHES.c.state == batch.state.value)
        with self._engine.begin() as connection:
            if connection.execute(update.values(values)).rowcount:
                self._note(connection, batch.digest, batch.dataset, step, why, who)

    def unopened(self, dataset: str, name: str, reason: str) -> bool:
        """Notes a directory entry that was never opened; whether it is new."""
        row = {"dataset": dataset, "name": name, "reason": reason, "seen_at": datetime.now(UTC)}
        with self._engine.begin() as connection:
            statement = self._insert(UNOPENED).values(row).on_conflict_do_nothing()
            return bool(connection.execute(statement).rowcount)

    def tell(self, dataset: str) -> list[tuple[str, str]]:
        """Name and reason of the entries never opened that nobody was told of yet; each is given once."""
        mine = sa.and_(UNOPENED.c.dataset == dataset, sa.not_(UNOPENED.c.told))
        update = (
            sa.update(UNOPENED).where(mine).values(told=True).returning(UNOPENED.c.name, UNOPENED.c.reason)
        )
        with self._engine.begin() as connection:
            return sorted((row.name, row.reason) for row in connection.execute(update))

    def left_unopened(self, dataset: str) -> list[tuple[str, str]]:
        """Name and reason of the directory entries of a dataset that were never opened, by name."""
        query = sa.select(UNOPENED.c.name, UNOPENED.c.reason).where(UNOPENED.c.dataset == dataset)
        return [(row.name, row.reason) for row in self._rows(query.order_by(UNOPENED.c.name))]

    def schema(self, dataset: str) -> sa.Row[Any] | None:
        """The newest version of a dataset's columns that silver followed: `version` and `columns`."""
        query = sa.select(SCHEMAS.c.version, SCHEMAS.c.columns).where(SCHEMAS.c.dataset == dataset)
        found = self._rows(query.order_by(SCHEMAS.c.version.desc()).limit(1))
        return found[0] if found else None

    def adopt(self, dataset: str, version: int, columns: dict[str, Any]) -> None:
        """Notes that silver follows a version of the dataset's columns."""
        row = {"dataset": dataset, "version": version, "columns": columns, "adopted_at": datetime.now(UTC)}
        with self._engine.begin() as connection:
            connection.execute(self._insert(SCHEMAS).values(row).on_conflict_do_nothing())

    def batches(self, dataset: str | None = None, state: BatchState | None = None) -> list[IngestResult]:
        """What became of the files, in order of arrival; COMMITTED stands for ARCHIVED too."""
        query = sa.select(*RESULT).order_by(BATCHES.c.seen_at, BATCHES.c.name)
        if dataset is not None:
            query = query.where(BATCHES.c.dataset == dataset)
        if state is not None:
            states = TAKEN if state is BatchState.COMMITTED else (state.value,)
            query = query.where(BATCHES.c.state.in_(states))
        return [_result(row) for row in self._rows(query)]

    def quarantined(self, dataset: str | None = None) -> list[IngestResult]:
        """Refused files and batches with quarantined rows that nobody has discarded, in order of arrival."""
        bad = sa.or_(BATCHES.c.state == BatchState.REFUSED.value, BATCHES.c.quarantined > 0)
        query = sa.select(*RESULT).where(bad, sa.not_(BATCHES.c.discarded))
        if dataset is not None:
            query = query.where(BATCHES.c.dataset == dataset)
        return [_result(row) for row in self._rows(query.order_by(BATCHES.c.seen_at, BATCHES.c.name))]

    def ended_since(self, dataset: str, moment: datetime) -> list[IngestResult]:
        """Batches, or releases of their rows, that were committed or refused from a moment on, in order of arrival."""
        mine = sa.and_(HISTORY.c.dataset == dataset, HISTORY.c.at >= moment, HISTORY.c.step.in_(ENDS))
        digests = sa.select(HISTORY.c.digest).where(mine)
        query = sa.select(*RESULT).where(BATCHES.c.dataset == dataset, BATCHES.c.digest.in_(digests))
        return [_result(row) for row in self._rows(query.order_by(BATCHES.c.seen_at, BATCHES.c.name))]

    def unfinished(self, dataset: str) -> list[IngestResult]:
        """Batches whose file is still to be archived, or whose released rows are still to be judged."""
        query = sa.select(*RESULT).where(
            BATCHES.c.dataset == dataset,
            sa.or_(BATCHES.c.state == BatchState.COMMITTED.value, BATCHES.c.releasing),
        )
        return [_result(row) for row in self._rows(query.order_by(BATCHES.c.seen_at))]

    def releasing(self, batch: Batch | IngestResult) -> bool:
        """Whether rows of a batch that is in have been released and are still to be judged."""
        row = self._row(batch)
        return row is not None and bool(row.releasing)

    def result(self, digest: str, dataset: str) -> IngestResult | None:
        """What became of one file; None if it never came."""
        found = self._rows(sa.select(*RESULT).where(_at(digest, dataset)))
        return _result(found[0]) if found else None

    def pending(self, dataset: str) -> list[Batch]:
        """Files that were seen but have not ended, by name."""
        query = sa.select(*BATCH).where(BATCHES.c.dataset == dataset, BATCHES.c.state.in_(OPEN))
        rows = self._rows(query.order_by(BATCHES.c.name))
        return [Batch(**{**row._mapping, "state": BatchState(row.state)}) for row in rows]

    def names(self, digest: str, dataset: str) -> list[str]:
        """Every name these bytes came under, in order of arrival."""
        query = sa.select(NAMES.c.name).where(NAMES.c.digest == digest, NAMES.c.dataset == dataset)
        return [row.name for row in self._rows(query.order_by(NAMES.c.seen_at, NAMES.c.name))]

    def history(self, digest: str, dataset: str) -> list[Step]:
        """Every step of a batch's way, in order."""
        columns = [HISTORY.c[name] for name in Step.__dataclass_fields__]
        query = sa.select(*columns).where(HISTORY.c.digest == digest, HISTORY.c.dataset == dataset)
        return [Step(**row._mapping) for row in self._rows(query.order_by(HISTORY.c.id))]

    def decided(self, dataset: str) -> set[tuple[str, int]]:
        """The attempts (digest, token) whose work counts; what others left behind is to be ignored."""
        query = sa.select(ATTEMPTS.c.digest, ATTEMPTS.c.token).where(
            ATTEMPTS.c.dataset == dataset, ATTEMPTS.c.decided
        )
        return {(row.digest, row.token) for row in self._rows(query)}

    def profiles(self, dataset: str, last: int) -> list[dict[str, float]]:
        """The profiles of the newest batches with rows, newest first."""
        query = (
            sa.select(BATCHES.c.profile)
            .where(BATCHES.c.dataset == dataset, BATCHES.c.state.in_(TAKEN), BATCHES.c.silver > 0)
            .order_by(BATCHES.c.last_known.desc(), BATCHES.c.seen_at.desc())
            .limit(last)
        )
        return [row.profile for row in self._rows(query) if row.profile]

    def watermark(self, dataset: str) -> datetime | None:
        """The newest available_at among committed batches; None if none has rows."""
        query = sa.select(sa.func.max(BATCHES.c.last_known, type_=Utc)).where(
            BATCHES.c.dataset == dataset, BATCHES.c.state.in_(TAKEN)
        )
        with self._engine.connect() as connection:
            newest: datetime | None = connection.execute(query).scalar_one()
        return newest

    def _row(self, batch: Batch | IngestResult | Claim) -> sa.Row[Any] | None:
        found = self._rows(sa.select(BATCHES).where(_is(batch)))
        return found[0] if found else None

    def _rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with self._engine.connect() as connection:
            return connection.execute(query).all()

    def _insert(self, table: sa.Table) -> Any:
        return insert(self._engine, table)

    @staticmethod
    def _note(
        connection: sa.Connection,
        digest: str,
        dataset: str,
        step: str,
        note: str | None,
        who: str | None = None,
    ) -> None:
        row = {"digest": digest, "dataset": dataset, "step": step, "note": note}
        connection.execute(
            sa.insert(HISTORY).values(row | {"who": who or identity(), "at": datetime.now(UTC)})
        )


def person() -> str:
    """Who sits at the keyboard, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return identity()


def _at(digest: str, dataset: str) -> sa.ColumnElement[bool]:
    return sa.and_(BATCHES.c.digest == digest, BATCHES.c.dataset == dataset)


def _is(batch: Batch | IngestResult | Claim) -> sa.ColumnElement[bool]:
    return _at(batch.digest, batch.dataset)


def _holds(claim: Claim) -> sa.ColumnElement[bool]:
    return BATCHES.c.token == claim.token


def _seen(result: IngestResult, now: datetime) -> dict[str, Any]:
    state = BatchState.SEEN.value
    return {
        "digest": result.digest,
        "dataset": result.dataset,
        "name": result.name,
        "state": state,
        "seen_at": now,
    }


def _result(row: sa.Row[Any]) -> IngestResult:
    return IngestResult(**{**row._mapping, "state": BatchState(row.state)})
