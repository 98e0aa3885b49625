"""The year as it happened, and its truth as it is told: in time, later, first wrong and then corrected, or never."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec, dataset
from pipelines.contracts import as_json
from pipelines.loop.replay import land
from pipelines.upstream import connect, story

if TYPE_CHECKING:
    import pandas as pd

STEP = timedelta(seconds=1)
"""The upstream systems' times are whole seconds."""
LONGEST = timedelta(days=10)
"""A truth that is told late is told so much later at most, and so is a correction."""


@dataclass(frozen=True)
class Script:
    """What is played, and how finely.

    `start` begins with the first champion. Then, to the end of `end`, there is a moment every `every`, each time at
    another of the `hours` (UTC): files land, features are computed, and of the questions that fall due in the `window`
    that follows up to `sample` are asked. Drift and decay are looked at every `watch`, the schedule ticks every
    `sweep`. Of the truths `late` is told up to ten days later, `never` is never told, and `wrong` is told wrong first:
    shares of one.
    """

    start: date
    end: date
    every: timedelta = timedelta(days=1)
    window: timedelta = timedelta(hours=3)
    sample: int = 200
    watch: timedelta = timedelta(days=3)
    sweep: timedelta = timedelta(days=7)
    late: float = 0.1
    never: float = 0.01
    wrong: float = 0.02
    seed: int = 0
    hours: tuple[int, ...] = (8, 13, 18, 10, 15, 20, 12, 17, 9, 14, 19, 11, 16, 21)

    @property
    def begin(self) -> datetime:
        """The moment at which the first champion is trained, of all that is known by then."""
        return midnight(self.start)

    @property
    def stop(self) -> datetime:
        return midnight(self.end) + timedelta(days=1)

    @property
    def moments(self) -> list[datetime]:
        days = [
            self.begin + number * self.every for number in range(-(-(self.stop - self.begin) // self.every))
        ]
        return [
            self.begin,
            *(day + timedelta(hours=hour) for day, hour in zip(days, cycle(self.hours), strict=False)),
        ]

    @property
    def told(self) -> datetime:
        """When every truth that ever comes is there."""
        return self.stop + LONGEST + timedelta(days=2)

    def plain(self) -> dict[str, Any]:
        """As text, to be told from another."""
        return {name: str(value) for name, value in asdict(self).items()}


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


class Year:
    """The systems that files come from, from which rows land as the script has it."""

    def __init__(self, spec: ModelSpec, script: Script) -> None:
        self.spec, self.script = spec, script
        self.label = dataset(spec.label.dataset)
        self.fields = [*spec.entities, *spec.request]
        self.connection = connect(spec.datasets)
        self._remember_the_questions()
        self._spoil_the_truth()

    @property
    def first(self) -> datetime:
        """From when on there are rows."""
        return midnight(story(self.spec).begin)

    def _remember_the_questions(self) -> None:
        """What can be asked: each event of the label's dataset, with no other that reads the same."""
        named = ", ".join(f'"{name}"' for name in self.fields)
        self.connection.execute(
            f'create table asked as select {named}, "{self.label.event_time}" - ? as due from {self.label.name}'
            f" qualify count(*) over (partition by {named}) = 1",
            [self.spec.label.horizon],
        )

    def _spoil_the_truth(self) -> None:
        """Delays, corrects and drops rows of the label's dataset; which ones, the seed says and the row's key."""
        script, known, name = self.script, f'"{self.label.available_at}"', self.label.name
        key = ", ".join(f'"{column}"' for column in self.label.key)
        chance = f"hash({key}, {script.seed}) % 1000000 / 1000000.0"
        more = (
            f"to_seconds(cast(hash({key}, {script.seed}, 'more') % {int(LONGEST.total_seconds())} as bigint))"
        )
        since = f"{known} >= TIMESTAMPTZ '{script.begin}'"
        never, late = script.never, script.never + script.late
        wrong = f"{since} and {chance} >= {late} and {chance} < {late + script.wrong} and arrival_delay is not null"
        # First of all, so that no key's share is drawn of rows that were changed already.
        self.connection.execute(
            f"create table corrected as select * replace ({known} + greatest({more}, interval 2 day) as {known})"
            f" from {name} where {wrong}"
        )
        self.connection.execute(f"update {name} set arrival_delay = departure_delay where {wrong}")
        self.connection.execute(f"delete from {name} where {since} and {chance} < {never}")
        self.connection.execute(
            f"update {name} set {known} = {known} + {more} where {since} and {chance} >= {never} and {chance} < {late}"
        )
        self.connection.execute(f"insert into {name} from corrected")

    def land(self, since: datetime | None, until: datetime, folder: Path) -> Iterator[str]:
        """Writes what became known after `since` up to `until`, the moment included; with None all, and reference data.

        Yields the name of each dataset of which there is a file.
        """
        folder.mkdir(parents=True, exist_ok=True)
        begin = (since or self.first) + (STEP if since else timedelta(0))
        for name in sorted(self.spec.datasets, key=lambda each: (each == self.label.name, each)):
            path = folder / f"{name}_{until:%Y%m%dT%H%M%S}.csv"
            if (since is None or not dataset(name).reference) and land(
                self.connection, name, begin, until + STEP, path
            ):
                yield name

    def questions(self, moment: datetime) -> list[dict[str, Any]]:
        """The requests that fall due in the window from a moment on; of many those that the seed takes."""
        named = ", ".join(f'"{name}"' for name in self.fields)
        found = self.connection.execute(
            f"select {named} from asked where due >= ? and due < ?"
            f" order by hash({named}, {self.script.seed}), {named} limit ?",
            [moment, min(moment + self.script.window, self.script.stop), self.script.sample],
        ).fetchall()
        rows = [dict(zip(self.fields, as_json(list(row)), strict=True)) for row in found]
        return [
            {
                "entities": {n: row[n] for n in self.spec.entities},
                "request": {n: row[n] for n in self.spec.request},
            }
            for row in rows
        ]

    def first_told(self, rows: "pd.DataFrame") -> dict[str, datetime]:
        """When anything was told of what each answer (`prediction_id`) is about, if something ever is."""
        self.connection.register("answers", rows[[*self.fields, "prediction_id"]])
        found = self.connection.execute(
            f'select prediction_id, min("{self.label.available_at}") from answers r'
            f" join {self.label.name} t on {self._same()} group by prediction_id"
        ).fetchall()
        self.connection.unregister("answers")
        return dict(found)

    def _same(self) -> str:
        """SQL: r asks what t is about."""
        return " and ".join(f'r."{name}" is not distinct from t."{name}"' for name in self.fields)

    def untold(self, rows: "pd.DataFrame", as_of: datetime) -> int:
        """How many rows have a label that is not the newest which was told of their question by a moment."""
        key = ", ".join(f'"{column}"' for column in self.label.key)
        self.connection.register("labelled", rows[[*self.fields, "label"]])
        found = self.connection.execute(
            f"""
            with told as (
                from {self.label.name} where "{self.label.available_at}" <= ?
                qualify row_number() over (partition by {key} order by "{self.label.available_at}" desc) = 1
            )
            select count(*) from labelled r where not exists (
                select 1 from told t where {self._same()} and r.label = cast(t.arrival_delay >= 15 as integer)
            )
            """,
            [as_of],
        ).fetchone()
        self.connection.unregister("labelled")
        return int(found[0]) if found else 0


def asked_of(body: Mapping[str, Any]) -> tuple[str, ...]:
    """A question as it can be told from others: the same of a request as of what the log keeps of it."""
    values = sorted({**body["entities"], **body["request"]}.items())
    return tuple(str(datetime.fromisoformat(v)) if _is_time(v) else str(v) for _, v in values)


def _is_time(value: Any) -> bool:
    return isinstance(value, str) and len(value) > 18 and value[4:5] == "-" and value[10:11] in "T "
