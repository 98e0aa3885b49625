"""The seven items about features and data."""

import re
from datetime import UTC, datetime, timedelta

from pipelines.review.scorecard.evidence import (
    AUTOMATED,
    MANUAL,
    NONE,
    SLOW,
    Evidence,
    Scene,
    judged,
    nothing,
    oldest,
    written,
)
from pipelines.review.scorecard.repository import committed
from pipelines.stores.feature_store.health import Health

LONGEST = 60.0
"""Seconds that computing a view may take before somebody should look."""
SOON = timedelta(days=7)
"""From a view's first definition to a model that takes it, at most."""
PRIVATE = re.compile(r"(?im)^(#+|\*\*)\s*(privacy|personal data|persons? in the data|data protection)\b")


def schema(scene: Scene) -> Evidence:
    """Every view of the model was held against its suite, and its dataset's files against theirs."""
    known = Health(scene.stores.settings.database)
    newest = {found.view: found for found in known.latest()}
    unchecked = [view for view in scene.views if view not in newest or not newest[view].checks]
    if unchecked:
        return nothing(f"nothing was expected of {', '.join(unchecked)} when last computed")
    refused = [str(newest[view]) for view in scene.views if newest[view].refused]
    at = oldest(
        [*(known.recorded(view) for view in scene.views), last_judged(scene, scene.spec.label.dataset)]
    )
    if refused or at is None:
        return Evidence(
            NONE, f"refused: {', '.join(refused)}" if refused else "no file was judged by its suite", at
        )
    count = sum(len(newest[view].checks) for view in scene.views)
    return Evidence(
        AUTOMATED, f"{count} expectations of {len(scene.views)} views, and the suite of its files", at
    )


def last_judged(scene: Scene, dataset: str) -> datetime | None:
    """When the newest file of a dataset that was taken in was judged by its suite."""
    taken = [b for b in scene.stores.ledger.batches(dataset) if b.state.taken and b.report]
    steps = [step.at for b in taken for step in scene.stores.ledger.history(b.digest, dataset)]
    return max(steps, default=None)


def beneficial(scene: Scene) -> Evidence:
    """Without each view, or each column where there is none, the champion loses more on held-out rows."""
    from pipelines.gate import record

    if scene.champion is None or scene.verdict is None:
        return nothing("there is no champion whose verdict can be read")
    told = written(record.beside(scene.spec.name, scene.champion.version, record.DETAILS, scene.stores))
    importance = (told[0] if told else {}).get("importance") or {}
    parts = importance.get("views") or importance.get("columns") or []
    if not parts:
        return nothing("no importance of features was kept with the champion")
    idle = [each["name"] for each in parts if each["mean"] <= 0]
    at = scene.verdict.judged_at
    if idle:
        return Evidence(NONE, f"the champion loses nothing without {', '.join(idle)}", at)
    return Evidence(AUTOMATED, f"the champion loses more without any of {len(parts)}", at)


def cost(scene: Scene) -> Evidence:
    """Computing each view and asking the model stay within their limits."""
    known = Health(scene.stores.settings.database)
    newest = {found.view: found for found in known.latest()}
    missing = [view for view in scene.views if view not in newest]
    if missing:
        return nothing(f"what {', '.join(missing)} costs was never measured")
    slow = [f"{v} {newest[v].seconds:.0f} s" for v in scene.views if newest[v].seconds > LONGEST]
    found = judged(scene, "what an answer costs", lambda rule: rule.name.startswith("serves"))
    if slow or found.points == NONE:
        return Evidence(NONE, f"too slow: {', '.join(slow)}" if slow else found.said, found.at)
    at = oldest([found.at, *(known.recorded(view) for view in scene.views)])
    return Evidence(AUTOMATED, f"{len(scene.views)} views within {LONGEST:.0f} s each; {found.said}", at)


def meta(scene: Scene) -> Evidence:
    """The model is sound, its features included, and each view has an owner and says what it is."""
    from pipelines.loop.checkup import examine

    broken = [fault for fault in examine(scene.spec.name, scene.looking) if fault.breaks]
    if broken:
        return Evidence(NONE, f"{broken[0].where}: {broken[0].what}", scene.now)
    known = scene.looking.features.described
    orphans = [view for view in scene.views if not known[view].owner or not known[view].description]
    if orphans:
        return Evidence(NONE, f"without owner or description: {', '.join(orphans)}", scene.now)
    return Evidence(
        AUTOMATED, "checked now: sound, reads no future, each view owned and described", scene.now
    )


def privacy(scene: Scene) -> Evidence:
    """A person said which data is about persons and why; or the system erased on request."""
    erased = scene.stores.audit.entries(action="erase", limit=1)
    if erased:
        return Evidence(AUTOMATED, f"{erased[-1].subject} was erased by {erased[-1].who}", erased[-1].at)
    if not PRIVATE.search(scene.card()):
        return nothing("CARD.md has no section on privacy or personal data, and nothing was ever erased")
    at = committed(scene.project, f"pipelines/models/{scene.spec.name}/CARD.md")
    return Evidence(MANUAL, "CARD.md says which data is about persons; no control is automatic", at, SLOW)


def quick(scene: Scene) -> Evidence:
    """How long the newest view of the model took from its definition to a model that was trained on it."""
    versions = scene.stores.tracking.versions(scene.spec.name)
    found = [
        (view.created_at, view, made)
        for view in scene.stores.features.registered.versions()
        if view.view in scene.views
        and (
            made := min(
                (_made(scene, v.run_id) for v in versions if v.views.get(view.view) == view.number),
                default=None,
            )
        )
    ]
    if not found:
        return nothing("no view of it was ever defined and trained on here")
    begun, view, made = max(found, key=lambda each: each[0])
    days = (made - begun) / timedelta(days=1)
    said = (
        f"{view}: {days:.1f} days from its definition to a model trained on it, at most {SOON.days} are quick"
    )
    return Evidence(AUTOMATED if made - begun <= SOON else NONE, said, made, SLOW)


def _made(scene: Scene, run_id: str) -> datetime:
    return datetime.fromtimestamp(scene.stores.tracking.run(run_id).started / 1000, UTC)


def tested(scene: Scene) -> Evidence:
    """Each view is named by tests of features, or of a model, that passed."""
    if not scene.views:
        return nothing("it takes no feature view whose code could be tested")
    found = {view: scene.outcomes.about(view, "features", "models") for view in scene.views}
    untested = [view for view, passed in found.items() if not passed]
    if untested:
        return nothing(f"no test that names it passed here: {', '.join(untested)}")
    at = min(max(passed.values()) for passed in found.values())
    return Evidence(AUTOMATED, f"tests of each of {len(found)} views passed", at)
