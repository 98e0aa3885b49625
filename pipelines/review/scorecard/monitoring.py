"""The seven items about what watches the model."""

from datetime import timedelta
from math import isfinite

from pipelines import catalog
from pipelines.contracts import NothingToDo
from pipelines.review.scorecard.data import last_judged
from pipelines.review.scorecard.evidence import AUTOMATED, NONE, Evidence, Scene, judged, nothing, oldest

ALERTS = "tests/dags/test_alerts.py"
LOOKED = 200
"""So many of the newest predictions are recomputed or looked at."""
STALE = timedelta(days=7)
"""How far behind its data a champion may be where its gate says nothing of that."""


def notified(scene: Scene) -> Evidence:
    """Somebody is told when a source, a library or a task breaks: an address is set, and the way there is tested."""
    if not scene.stores.settings.alert_addresses:
        return nothing("EVERGREEN_ALERT_URLS is not set: nobody is told")
    found = scene.outcomes.of(ALERTS)
    if not found:
        return nothing(f"an address is set, but {ALERTS} did not pass here")
    return Evidence(
        AUTOMATED, f"an address is set, and {len(found)} tests of the way there passed", min(found.values())
    )


def invariants(scene: Scene) -> Evidence:
    """The newest files of every growing dataset were judged by their suites, and came in."""
    growing = [name for name in scene.spec.datasets if not catalog.dataset(name).reference]
    judged_at = {name: last_judged(scene, name) for name in growing or [scene.spec.label.dataset]}
    missing = [name for name, at in judged_at.items() if at is None]
    if missing:
        return nothing(f"no file of {', '.join(missing)} was judged and taken in")
    return Evidence(
        AUTOMATED, f"every file of {', '.join(judged_at)} is judged as it lands", oldest(judged_at.values())
    )


def unskewed(scene: Scene) -> Evidence:
    """What serving had of each feature is what the offline store says, recomputed now."""
    from pipelines.features.parity import parity

    asked = scene.stores.predictions.recent(scene.spec.name, LOOKED)
    if not asked:
        return nothing("no prediction is logged whose features could be recomputed")
    found = parity(scene.spec, asked, scene.looking)
    lookups, apart = sum(view.lookups for view in found), sum(view.differences for view in found)
    if not lookups:
        return nothing("its answers looked nothing up, so nothing can be compared")
    said = f"{lookups:,} look-ups of its newest answers recomputed: {apart:,} differ"
    return Evidence(NONE if apart else AUTOMATED, said, asked[0].asked_at)


def fresh(scene: Scene) -> Evidence:
    """The champion knows what has landed, but for as long as its gate calls fresh."""
    from pipelines.features.watermark import watermark

    if scene.champion is None:
        return nothing("there is no champion")
    needed = [catalog.dataset(name) for name in scene.spec.datasets]
    try:
        known = watermark(scene.stores, needed, scene.spec.training.patience)
    except NothingToDo as error:
        return nothing(str(error))
    limit = scene.spec.gate.champion.stale_after or STALE
    behind = known - scene.champion.as_of
    days = behind / timedelta(days=1)
    said = f"version {scene.champion.version} is {days:.1f} days behind its data, {limit.days} at most"
    return Evidence(
        AUTOMATED if behind <= limit else NONE, said, last_judged(scene, scene.spec.label.dataset)
    )


def stable(scene: Scene) -> Evidence:
    """Every answer at the gate was a number, and so was every answer to a real question."""
    found = judged(scene, "answers that are numbers", lambda rule: rule.name == "sound answers")
    odd = [p for p in scene.stores.predictions.recent(scene.spec.name, LOOKED) if not isfinite(p.answer)]
    if odd:
        return Evidence(NONE, f"prediction {odd[0].prediction_id} is no number", odd[0].asked_at)
    return found


def swift(scene: Scene) -> Evidence:
    """Time, memory and size of the champion where it serves lie within the spec's limits."""
    return judged(scene, "what it costs where it serves", lambda rule: rule.name.startswith("serves"))


def kept_quality(scene: Scene) -> Evidence:
    """The champion loses no more on the truth that came since than its spec allows."""
    if scene.monitor is None:
        return nothing("the monitor has not reported on the champion")
    said, at = scene.monitor
    decay, given = said.get("decay") or {}, said.get("given") or {}
    if given.get("decayed"):
        return Evidence(NONE, str(given["explanation"]), at)
    if decay.get("since") is None:
        return nothing(str(decay.get("explanation") or "decay is not judged"))
    return Evidence(NONE if decay.get("decayed") else AUTOMATED, str(decay["explanation"]), at)
