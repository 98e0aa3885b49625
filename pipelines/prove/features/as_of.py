"""No training row knows the future, and no feature that reads it gets in."""

import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec, model
from pipelines.contracts import Say
from pipelines.features import compute, leakage
from pipelines.features.leakage import ReadsTheFuture
from pipelines.prove import Proof
from pipelines.prove.features.leaks import Leak, leaks, written
from pipelines.prove.ingestion import scratch
from pipelines.prove.worlds import Upstream, World, sandbox
from pipelines.settings import PROJECT
from pipelines.stores import Stores
from pipelines.training.training_set import build, given, labels

if TYPE_CHECKING:
    import pandas as pd

PROMISE = "No training row knows the future, and a feature that reads it is refused by name"
SHARE, LEAST = 0.002, 6
"""Of all rows, this share is corrected later, and as many become known days late; so many at least."""
ASKED = 3
"""At so many moments the training set is built, then and with hindsight; at half of all, if these are few."""


def prove(name: str, rows: int, steps: int, seed: int, say: Say) -> Proof:
    """Lives through the same rows twice: as they become known, and with everything known from the start.

    Each label's features are taken when it was asked, from a deployment that had nothing later, and again from
    the one that knows all; they must be equal to the bit. Then features that read the future are planted.
    """
    with scratch() as home:
        return held(staged(model(name), home, rows, seed, say), steps, seed, say)


@dataclass(frozen=True)
class Scene:
    """A deployment that knew everything from the start, and the labels whose features are asked for."""

    spec: ModelSpec
    source: Upstream
    home: Path
    end: datetime
    hindsight: Stores
    asked: "pd.DataFrame"


def staged(spec: ModelSpec, home: Path, rows: int, seed: int, say: Say) -> Scene:
    """Real rows with corrections and late ones among them, all of which have landed."""
    source = Upstream(spec)
    end = _until(spec, source, rows, say)
    made = source.plant(source.begin, end, max(SHARE, LEAST / rows), seed)
    say(f"{made.corrections:,} corrections and {made.late:,} late rows planted up to {end:%Y-%m-%d}")
    hindsight = World(source, sandbox(home / "hindsight"))
    hindsight.live(end)
    compute.compute(end, hindsight.stores)
    asked = labels(_all(spec, end - source.begin), end, hindsight.stores).drop(columns="split")
    asked = asked.nsmallest(rows, "event_timestamp").reset_index(drop=True)
    return Scene(spec, source, home, end, hindsight.stores, asked)


def held(scene: Scene, steps: int, seed: int, say: Say) -> Proof:
    """The proof, on a scene that is staged."""
    lived, failures = as_it_became_known(scene, steps, seed, say)
    tried, let_through = planted(scene, say)
    return Proof(PROMISE, [*lived, *tried], [*failures, *let_through])


def _all(spec: ModelSpec, lived: timedelta) -> ModelSpec:
    """The model with a window that reaches back to the first label, and nothing held out."""
    every = {"window": lived + timedelta(days=30), "holdout": timedelta(0)}
    training = spec.training.model_copy(update=every)
    return spec.model_copy(update={"training": training})


def _until(spec: ModelSpec, source: Upstream, rows: int, say: Say) -> datetime:
    """By when so many labels are known, and some time more."""
    found = source.connection.execute(
        f"select label_known_at from ({spec.label_sql}) where label_known_at >= $begin order by 1 limit 1 offset $rows",
        {"begin": source.begin, "rows": int(rows * 1.1)} | given(spec),
    ).fetchone()
    end = min(source.end, (found[0] if found else source.end) + timedelta(days=2))
    say(f"rows from {source.begin:%Y-%m-%d} to {end:%Y-%m-%d}")
    return end.astimezone(UTC).replace(microsecond=0)


def _moments(asked: "pd.DataFrame", steps: int, seed: int) -> list[datetime]:
    """The very moments of some labels, spread unevenly, and that of the last one: what is later, nobody asks for."""
    times = sorted({moment.to_pydatetime() for moment in asked["event_timestamp"]})
    dice = random.Random(seed)  # noqa: S311 - a choice of cases, no secret
    return [*sorted(dice.sample(times, min(steps - 1, len(times)))), *times[-1:]]


def _known(asked: "pd.DataFrame", count: int, end: datetime, seed: int) -> list[datetime]:
    """When some of the later truths came out, which may be long after the last question: there is a training set."""
    times = sorted({moment.to_pydatetime() for moment in asked["label_known_at"] if moment < end})
    later = times[len(times) // 2 :]
    return random.Random(seed).sample(later, min(count, len(later)))  # noqa: S311 - a choice of cases


def as_it_became_known(
    scene: Scene, steps: int, seed: int, say: Say
) -> tuple[list[dict[str, Any]], list[str]]:
    """Step by step: features of the labels asked in the step, and training sets at some of the steps."""
    import pandas as pd

    spec, hindsight, asked = scene.spec, scene.hindsight, scene.asked
    then = World(scene.source, sandbox(scene.home / "then"))
    chosen = _known(asked, min(ASKED, steps // 2), scene.end, seed)
    for version in then.stores.features.current.values():
        leakage.stood(version, scene.end, then.stores)  # in hindsight's deployment, over all of the data
    moments = sorted({*_moments(asked, max(1, steps - len(chosen)), seed), *chosen})
    say(f"{len(asked):,} labels; now as they became known, in {len(moments)} steps")
    names = hindsight.features.feature_names(spec)
    parts, same, failures, since = [], 0, [], pd.Timestamp(scene.source.begin - timedelta(days=1))
    for number, moment in enumerate(moments):
        then.live(moment)
        compute.compute(moment, then.stores)
        part = asked[(asked.event_timestamp > since) & (asked.event_timestamp <= pd.Timestamp(moment))]
        parts.append(then.stores.features.historical(names, part.reset_index(drop=True)))
        since = pd.Timestamp(moment)
        if moment in chosen:
            failures += _same_set(spec, moment, then.stores, hindsight)
            same += 1
        say(f"{moment:%Y-%m-%d %H:%M}: {len(part):,} labels ({number + 1} of {len(moments)})")
    lived = pd.concat(parts, ignore_index=True)
    known = hindsight.features.historical(names, asked)
    differ = _differ(names, lived, known)
    failures += [_told(names, lived.iloc[at], known.iloc[at]) for at in differ[:10]]
    rows = [
        {"tried": "rows, each as known then and with hindsight", "number": len(known), "of them with a value":
         int(known[names].notna().any(axis=1).sum()), "know the future": len(differ)},
        {"tried": "training sets as of T, then and with hindsight", "number": same,
         "know the future": sum("training set" in f for f in failures)},
    ]  # fmt: skip
    if len(known) == 0 or same == 0:
        failures.append("nothing was compared")
    return rows, failures


def _differ(names: list[str], one: "pd.DataFrame", other: "pd.DataFrame") -> list[int]:
    """The rows that are not equal to the bit; missing equals missing."""
    unequal = (one[names] != other[names]) & ~(one[names].isna() & other[names].isna())
    return [int(at) for at in unequal.index[unequal.any(axis=1)]]


def _told(names: list[str], then: "pd.Series[Any]", later: "pd.Series[Any]") -> str:
    name = next(n for n in names if then[n] != later[n] and not (then[n] != then[n] and later[n] != later[n]))
    return f"{name} at {then['event_timestamp']} was {then[name]} then and is {later[name]} with hindsight"


def _same_set(spec: ModelSpec, moment: datetime, then: Stores, hindsight: Stores) -> list[str]:
    """The training set as of a moment has the same bytes then and with hindsight."""
    sets = [build(spec, moment, stores) for stores in (then, hindsight)]
    counts = [made.rows + made.holdout_rows for made in sets]
    if sets[0].content == sets[1].content and counts[0]:
        return []
    return [f"the training set as of {moment} is another with hindsight ({counts[0]} and {counts[1]} rows)"]


def planted(scene: Scene, say: Say) -> tuple[list[dict[str, Any]], list[str]]:
    """Each leak in a feature repository of its own over the same silver: refused by name, the honest ones not."""
    rows, failures = [], []
    for number, leak in enumerate(leaks(scene.spec)):
        said = _refusal(scene.spec, leak, scene.hindsight, scene.home / f"leak-{number}", scene.end)
        good = (said is None) if leak.honest else (said is not None and leak.name in said)
        rows.append({"tried": leak.what, "number": 1, "refused": "no" if said is None else "yes"})
        say(f"{leak.what}: {said or 'not refused'}")
        if not good:
            failures.append(f"{leak.what}: {'refused: ' + said if said else 'was not refused by its name'}")
    return rows, failures


def _refusal(spec: ModelSpec, leak: Leak, stores: Stores, home: Path, end: datetime) -> str | None:
    """What the deployment says of the planted view; None if it computes it."""
    repo = written(spec, leak, PROJECT / "feature_repo", home / "feature_repo")
    copied = sandbox(home, repo)
    shutil.copytree(stores.settings.home / "lake" / "silver", home / "lake" / "silver")
    with closing(sqlite3.connect(stores.settings.home / "evergreen.db")) as ledger:
        ledger.execute("vacuum into ?", [str(home / "evergreen.db")])
    version = copied.features.version(leak.name.split(":")[0])
    copied.progress.forget(version.consumer)
    try:
        windows, _ = compute.pending(version, end, copied.ledger.batches(), copied)
        leakage.check(version, windows[0][0], end, copied)
    except ReadsTheFuture as error:
        return str(error)
    return None
