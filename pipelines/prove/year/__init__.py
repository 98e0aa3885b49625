"""April to December 2013 as traffic, truth arriving late: what the loop makes of it beside the frozen March model."""

from pathlib import Path

from pipelines.catalog import model
from pipelines.contracts import Say
from pipelines.loop import steps
from pipelines.prove import Proof
from pipelines.prove.year import checks, findings
from pipelines.prove.year.life import Life, told
from pipelines.prove.year.picture import drawn
from pipelines.prove.year.story import Script
from pipelines.settings import scratch

PROMISE = (
    "each question has one answer in the log, no label was used before it was told, and the champions are"
    " not worse than the first one, frozen, beyond doubt"
)


def prove(name: str, script: Script, home: Path, say: Say) -> Proof:
    """A deployment in `home` lives through the script; one that was cut off goes on where it was."""
    with scratch(home):
        life = Life(model(name), script, steps.stores(), say)
        life.lived()
        return held(life, say)


def held(life: Life, say: Say) -> Proof:
    """What came of a life, month by month, and what was broken in it."""
    spec, script, stores = life.spec, life.script, life.stores
    log = stores.predictions.recent(spec.name, stores.predictions.count(spec.name))
    rows = findings.answers(spec, script, log, stores)
    for each in life.diary.kept["retrainings"]:
        say(told(each))
    say(
        "Time went to "
        + ", ".join(f"{what} {spent:.0f} s" for what, spent in life.diary.kept["seconds"].items())
    )
    page = steps.performance(spec.name, script.begin.isoformat(), script.told.isoformat())["page"]
    picture = drawn(rows, life.diary.kept["retrainings"], stores.settings.home / "reports" / "year.png")
    shown = [Path(each).relative_to(stores.settings.home) for each in (page, picture)]
    say(f"In its home, {shown[0]}: the performance page; {shown[1]}: beside the frozen model, week by week")
    failures = [*checks.broken(life, log, rows)]
    found = findings.gained(rows)
    if findings.verdict(found) == findings.WORSE:
        failures.append(f"the champions' log loss is worse than the first one's: {findings.shown(found)}")
    return Proof(PROMISE, [*findings.by_month(rows, life.diary.kept["retrainings"])], failures)
