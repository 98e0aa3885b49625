"""What must be true of a life: each question has one answer, and nobody knew a truth before it was told."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from pipelines.monitoring.truth import KNOWN
from pipelines.prove.year.findings import FROZEN, SHOWN
from pipelines.prove.year.life import Life
from pipelines.prove.year.story import asked_of
from pipelines.stores.answers.predictions import Prediction
from pipelines.training.training_set import path_of

if TYPE_CHECKING:
    import pandas as pd


def broken(life: Life, log: Sequence[Prediction], rows: "pd.DataFrame") -> Iterator[str]:
    """Every breach in a sentence; `rows` are the answers with their truths."""
    yield from (f"a file was refused: {why}" for why in life.diary.kept["refused"])
    yield from once(life, log)
    yield from before_the_truth(life, log, rows)
    yield from trained_in_time(life)
    wrong = life.year.untold(rows[rows["state"] == KNOWN], life.script.told)
    if wrong:
        yield f"{wrong:,} answers were measured by a label that is not the newest that was told"
    first = rows[rows["version"] == FROZEN]
    other = (first["said"] != first["frozen"]).sum()
    if other:
        yield f"the first champion, asked again, says something else to {other:,} of its questions"


def once(life: Life, log: Iterable[Prediction]) -> Iterator[str]:
    """Each question of the script is in the log once, and nothing else is."""
    asked = Counter(asked_of(body) for m in life.script.moments for body in life.year.questions(m))
    logged = Counter(_question(each) for each in log)
    missing, more = (asked - logged).total(), (logged - asked).total()
    if not asked:
        yield "no question was asked"
    if missing or more:
        yield f"{missing:,} questions have no answer in the log, {more:,} answers are there twice or were not asked for"


def before_the_truth(life: Life, log: Iterable[Prediction], rows: "pd.DataFrame") -> Iterator[str]:
    """What each answer knew ended before its question fell due, and before anything was told of it."""
    first, bad = life.year.first_told(rows), []
    for each in log:
        known = [datetime.fromisoformat(view["as_of"]) for view in (each.known or {}).values() if view]
        due = (each.event_time or each.asked_at) - life.spec.label.horizon
        told = first.get(each.prediction_id)
        if not known or max(known) > due or (told is not None and told <= max(known)):
            bad.append(
                f"{each.prediction_id} was due {due}, knew until {max(known, default=None)}, told {told}"
            )
    if bad:
        yield f"{len(bad):,} answers knew too much, such as {'; '.join(bad[:SHOWN])}"


def trained_in_time(life: Life) -> Iterator[str]:
    """The labels of each version are the newest that were told by its moment."""
    import pandas as pd

    name, versions = life.spec.name, life.stores.tracking.versions(life.spec.name)
    if not versions:
        yield "no version was trained"
    for each in versions:
        rows = pd.read_parquet(path_of(name, each.tags["training_set"], life.stores))
        wrong = life.year.untold(rows, each.as_of)
        if wrong or rows.empty:
            yield f"version {each.version}, as of {each.as_of}, learned from {wrong:,} labels that nobody had told then"


def _question(each: Prediction) -> tuple[str, ...]:
    return asked_of({"entities": each.entities, "request": each.request})
